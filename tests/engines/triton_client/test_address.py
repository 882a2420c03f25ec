import pytest

from engines.triton_client.address import Address
from refinemask.files import UserError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", Address("http", "localhost:8000", False)),
        ("https://a.example:443/triton/", Address("http", "a.example:443/triton", True)),
        ("grpc://localhost:9001", Address("grpc", "localhost:9001", False)),
        ("grpcs://localhost", Address("grpc", "localhost:8001", True)),
        ("grpc://[::1]:7", Address("grpc", "[::1]:7", False)),
    ],
)
def test_a_url_is_an_address(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://localhost", "http://", "http://a:b", "http://a:99999", "grpc://a/path", "http://u@a"],
)
def test_what_is_no_address_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(UserError, match="expected http://HOST:8000 or grpc://HOST:8001"):
        Address.parse(url)
