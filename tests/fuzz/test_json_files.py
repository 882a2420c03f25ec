import json
from pathlib import Path

from refinemask.json_files import read_json
from tests.fuzz.conftest import Seeds
from tests.support.mutations import ODD_VALUES, mutated_bytes, refusal


def test_damaged_json_is_read_as_the_standard_library_reads_it_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.json", json.dumps({"values": ODD_VALUES}).encode()
    refused = 0
    for random in seeds(200):
        data = mutated_bytes(whole, random)
        path.write_bytes(data)
        if refusal(lambda: read_json(path, "values")) is None:
            assert repr(read_json(path, "values")) == repr(json.loads(data))
        else:
            refused += 1
    assert refused > 20
