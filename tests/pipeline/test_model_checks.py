"""Models that cannot be trained, and stages that a run does not have, are said at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from kdmatch.errors import UserError
from kdmatch.pipeline.config.loader import load_config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run import run

BERT = {
    "model_type": "bert",
    "hidden_size": 64,
    "vocab_size": 30_522,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.preset=bert_5l", "teacher: model preset 'bert_5l' is unknown; choose one of"),
        ("students.albert.preset=albret", "students.albert: model preset 'albret' is unknown"),
        ("students.textcnn.start=pretraining", "students.textcnn: preset textcnn_64 cannot start"),
        ("students.albert.start=vectors", "students.albert: preset albert_1l_64 cannot start"),
        ("teacher.start=teacher", "teacher: preset bert_2l_64 cannot start from the teacher"),
        ("teacher.start=nowhere/bert", "teacher: start 'nowhere/bert': .*config.json is missing"),
        ("teacher.start=package:no_such_one/x", "teacher: .*'no_such_one' is not installed"),
        (
            "students.albert.arguments.droput=0.1",
            "unknown argument 'droput'; did you mean 'dropout'",
        ),
        ("students.textcnn.arguments.x=1", "students.textcnn: .*unknown argument 'x'; known: "),
        (
            "students.albert.arguments.dropout=1e-1",
            "students.albert: .*argument dropout: .* valid number .found '1e-1'.; YAML reads",
        ),
        (
            "students.textcnn.arguments.widths=3",
            "students.textcnn: .*argument widths: .* .found 3",
        ),
        ("teacher.arguments={hidden_dim: null}", "teacher: .*argument hidden_dim: .*found None"),
        (
            "students.albert.arguments.embedding_dim=128",
            "students.albert: .*embedding_dim 128 is more than the teacher's hidden_dim 64",
        ),
        (
            "students.textcnn={preset: textcnn_64, start: vectors, arguments: {embedding_dim: 9}}",
            "students.textcnn: embedding_dim 9 is not text.words.dimension 16",
        ),
        (
            "original={preset: bert_4l_256, start: pretraining}",
            "original: start pretraining: the pre-trained encoder differs in hidden_dim, inter",
        ),
        (
            "teacher={preset: textcnn_64}",
            "students.albert: can start from a BERT alone; the teacher is textcnn_64",
        ),
        (
            "students.albert.preset=albert_1l_128",
            "students.albert: start from teacher: its hidden_dim is 64, the matcher's 128",
        ),
        ("students.albert.take_layers=[2]", "students.albert: .*layers.* the start has 2"),
        (
            "students.albert.arguments.max_sequence_length=16",
            "students.albert: max_sequence_length 16 is less than text.wordpiece.max_tokens 32",
        ),
        (
            "further_teachers.teacher_b={preset: albert_1l_64, start: teacher}",
            "further_teachers.teacher_b: only a student can start from the teacher",
        ),
        (
            "further_teachers.teacher_b={preset: bert_4l_256, start: vectors}",
            "one hidden_dim: teacher has 64, further_teachers.teacher_b has 256",
        ),
    ],
)
def test_a_model_that_cannot_be_trained_is_said_before_anything_is(
    tiny: Path, tmp_path: Path, override: str, message: str
) -> None:
    more = ["teacher.start=vectors"] if "teacher_b" in override and "256" in override else []
    more += ["pretraining={steps: 10}"] if override.startswith("original") else []
    config = load_config(tiny, [override, *more])
    with pytest.raises(UserError, match=message):
        run(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_model_takes_what_batches_are_padded_to(tiny: Path, tmp_path: Path) -> None:
    lengths = ["text.wordpiece.max_tokens=34", "students.albert.arguments.max_sequence_length=34"]
    with pytest.raises(UserError, match=r"34 is less than .* 34, which batches pad to 40; lower"):
        run(load_config(tiny, lengths), tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("files", "more", "message"),
    [
        (
            {"config.json": {}},
            [],
            "not that of a Hugging Face or KerasHub BERT .KeyError: 'config'",
        ),
        (
            {"config.json": {"model_type": "roberta"}},
            [],
            "of type 'roberta'; a matcher needs a BERT",
        ),
        ({"config.json": BERT}, [], "model.safetensors is missing; save the model's weights so"),
        (
            {"config.json": BERT, "model.safetensors": {}},
            ["teacher.take_layers=[3, 4]"],
            r"take_layers \[3, 4\]: the matcher has 2 layers and the start has 4",
        ),
        (
            {"config.json": BERT | {"hidden_size": 128}, "model.safetensors": {}},
            [],
            "its hidden_dim is 128, the matcher's 64",
        ),
    ],
)
def test_a_pretrained_model_that_does_not_fit_is_said_before_anything_is_done(
    tiny: Path, tmp_path: Path, files: dict[str, dict[str, Any]], more: list[str], message: str
) -> None:
    source = tmp_path / "bert"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_text(json.dumps(content))
    config = load_config(tiny, [f"teacher.start={source}", *more])
    with pytest.raises(UserError, match=f"teacher: start .*{message}"):
        run(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"knows 40 tokens of its own; set text\.wordpiece\.vocabulary, to '.*bert' if"),
        ({"vocabulary": "{bert}"}, "reads any case; set text.wordpiece.lower_case to false"),
        ({"vocabulary": "{bert}", "lower_case": False}, None),
    ],
)
def test_a_pretrained_bert_reads_the_tokens_that_it_knows(
    tiny: Path, tmp_path: Path, write_bert: Any, settings: dict[str, Any], message: str | None
) -> None:
    from kdmatch.pipeline.model_checks import check_models

    bert = tmp_path / "bert"
    bert.mkdir()
    write_bert(bert, words=40, hidden=64, inside=256, heads=2, layers=2, positions=512)
    (bert / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    given = {k: v.format(bert=bert) if isinstance(v, str) else v for k, v in settings.items()}
    changes = [f"text.wordpiece.{name}={value}" for name, value in given.items()]
    config = load_config(tiny, [f"teacher.start={bert}", *changes])
    if message is None:
        check_models(config)
        return
    with pytest.raises(UserError, match=f"teacher: start .*{message}"):
        check_models(config)


@pytest.mark.parametrize(
    ("components", "message"),
    [(8, r"bert has no vocab\.txt"), (9, r"components is 9: the vectors of bert have 8")],
)
def test_a_sentence_encoder_that_does_not_fit_is_said_before_anything_is_done(
    tiny: Path, tmp_path: Path, write_bert: Any, components: int, message: str
) -> None:
    source = tmp_path / "bert"
    source.mkdir()
    write_bert(source, words=40, hidden=8, inside=12, heads=2, layers=1, positions=10)
    if components == 8:
        (source / "vocab.txt").unlink()
    config = load_config(tiny, [f"gbdt.sentences={source}", f"gbdt.components={components}"])
    with pytest.raises(UserError, match=f"gbdt.sentences: .*{message}"):
        run(config, tmp_path / "run", Console(quiet=True))
    config = load_config(tiny, [f"text.words.encoder={tmp_path / 'none'}"])
    with pytest.raises(UserError, match=r"text\.words\.encoder: .*none"):
        run(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("techer", "choose one of data, text, transfer, gbdt, teacher, scores.*teacher_cnn"),
        ("original", "no such stage"),
        ("pretraining", "no such stage"),
        ("students/albrt", "choose one of students/albert, students/albert_control"),
        ("students/albert/seed-7", "this config has seed-0, seed-1"),
        ("gbdt/model", "choose one of gbdt"),
    ],
)
def test_a_stage_that_the_run_does_not_have_is_refused(
    tiny: Path, tmp_path: Path, until: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"--until {until}: .*{message}"):
        run(load_config(tiny, ["seeds=[0, 1]"]), tmp_path / "run", Console(quiet=True), until)
    assert not (tmp_path / "run").exists()


def test_files_of_rows_are_known_by_field_and_content(tiny: Path) -> None:
    from kdmatch.pipeline.data_stage import source_hashes

    data = load_config(tiny).data
    found = source_hashes(data)
    assert list(found) == ["train", "valid", "test", "unlabelled"]
    other = tiny.parent / "other"
    other.mkdir()
    moved = other / "moved.parquet"
    moved.write_bytes(Path(data.train).read_bytes())
    assert source_hashes(data.model_copy(update={"train": str(moved)})) == found
    turned = source_hashes(data.model_copy(update={"valid": data.test, "test": data.valid}))
    assert (turned["valid"], turned["test"]) == (found["test"], found["valid"])
