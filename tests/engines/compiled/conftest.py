"""What the tests of compiled engines share."""

from tests.support.compiled_package import package, package_cache, tiny_package

__all__ = ["package", "package_cache", "tiny_package"]
