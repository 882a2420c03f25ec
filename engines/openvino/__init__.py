"""OpenVINO on the CPU: compiling exported files, proving what is executed, and running it."""
