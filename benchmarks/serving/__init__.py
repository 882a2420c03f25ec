"""A served model under load: throughput and latency by number of clients, and bytes of answers."""
