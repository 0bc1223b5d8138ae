import pytest

from kdmatch.errors import UserError
from kdmatch.serving.warmup import read_warmup, write_warmup


def test_round_trip(tmp_path):
    path = write_warmup(tmp_path, "albert", [("鞋", ["跑鞋", "茶"]), ("tea", ["cup"])])
    assert path == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    first, second = [record.predict_log.request for record in read_warmup(tmp_path)]
    assert first.model_spec.name == "albert"
    assert first.model_spec.signature_name == "serving_default"
    assert list(first.inputs["query"].string_val) == ["鞋".encode()] * 2
    assert list(first.inputs["document"].string_val) == ["跑鞋".encode(), "茶".encode()]
    assert list(second.inputs["document"].string_val) == [b"cup"]


def test_at_most_a_thousand(tmp_path):
    write_warmup(tmp_path, "albert", [("q", ["d"])] * 1000)
    assert len(read_warmup(tmp_path)) == 1000
    with pytest.raises(UserError, match="more than 1000"):
        write_warmup(tmp_path / "other", "albert", (("q", ["d"]) for _ in iter(int, 1)))
    assert not (tmp_path / "other").exists()


def test_a_request_without_documents_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"request 1 \('tea'\) has no documents"):
        write_warmup(tmp_path, "albert", [("q", ["d"]), ("tea", [])])


def test_missing_and_damaged_files(tmp_path):
    assert read_warmup(tmp_path) == []
    path = write_warmup(tmp_path, "albert", [("q", ["d"])])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="damaged warm-up file"):
        read_warmup(tmp_path)
