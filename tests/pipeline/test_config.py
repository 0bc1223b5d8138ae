"""The config: defaults, overrides, and mistakes answered with what to do."""

from pathlib import Path

import pytest
import yaml

import kdmatch
from kdmatch.errors import UserError
from kdmatch.pipeline.config.loader import dump_config, load_config, parse_config

RAW = {
    "name": "x",
    "data": {"train": "train.parquet"},
    "teacher": {"preset": "bert_2l_64"},
    "students": {"textcnn": {"preset": "textcnn_64"}},
}


def write(folder: Path, raw: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_overrides_and_round_trip(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, RAW),
        ["distillation.alpha=0.25", "seeds=[4, 5]", "teacher.training.steps=7"],
    )
    assert config.distillation.alpha == 0.25
    assert config.seeds == [4, 5]
    assert config.teacher.training.steps == 7
    assert parse_config(yaml.safe_load(dump_config(config)), "dump") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[0, 0]", "seeds.*one stands twice"),
        ("seeds=[-1]", "seeds.0: .*greater than or equal to 0"),
        ("distillation.alfa=1", r"unknown key 'distillation.alfa'; did you mean 'alpha'\?"),
        ("students.textcnn.trainin={}", r"did you mean 'training'\?"),
        ("teacher.training.step=3", r"did you mean 'steps'\?"),
        ("seed=abc", r"seed: .*integer.*found 'abc'"),
        ("distillation.scaling=log", r"distillation.scaling: .*'exp' or 'none'"),
        ("transfer.share=1", r"transfer.share: .*less than 1"),
        ("students={}", "students is empty"),
        ("students.Big-One={preset: albert_1l_64}", r"students.Big-One.*match pattern"),
        *(
            (f"students.{taken}={{preset: albert_1l_64}}", f"students.{taken}: .*name the student")
            for taken in ("teacher", "teacher_cnn", "gbdt", "all", "albert_control")
        ),
        ("teacher.training=5", r"teacher.training"),
        ("nonsense", "write it as a.b=value"),
        ("teacher.training={steps: 1", "the value is not valid YAML"),
        ("further_teachers={cnn: {preset: textcnn_64}}", "further_teachers.cnn"),
        (
            "further_teachers={teacher_b: {preset: bert_2l_64, start: pretraining}}",
            "further_teachers.teacher_b.start is pretraining; add a `pretraining` section",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(tmp_path, RAW), [override])
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="teacher: Field required"):
        load_config(write(tmp_path, {k: v for k, v in RAW.items() if k != "teacher"}))
    with pytest.raises(UserError, match="cannot be read as a config"):
        load_config(tmp_path)
    (tmp_path / "broken.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_config(tmp_path / "broken.yaml")
    with pytest.raises(UserError, match="no such config"):
        load_config(tmp_path / "nope.yaml")


def test_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {**RAW, "data": {"train": "${SOME_PLACE}/t.parquet"}})
    with pytest.raises(UserError, match=r"\$\{SOME_PLACE\} is not set"):
        load_config(path)
    monkeypatch.setenv("SOME_PLACE", "there")
    assert load_config(path).data.train == "there/t.parquet"


def test_included_keys_go_before_the_configs_and_set_before_both(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("distillation: {alpha: 0.1, beta: 0.1, gamma: 0.1}")
    given = tmp_path / "given.yaml"
    given.write_text("distillation: {beta: 0.2, gamma: 0.2}\nseeds: [3]")
    raw = {**RAW, "distillation": {"alpha": 9, "margin": 0.5}, "include": "own.yaml"}
    losses = load_config(write(tmp_path, raw), ["distillation.gamma=0.3"], [given]).distillation
    assert (losses.alpha, losses.beta, losses.gamma, losses.margin) == (0.1, 0.2, 0.3, 0.5)
    with pytest.raises(UserError, match=r"nope\.yaml: no such config"):
        load_config(write(tmp_path, {**RAW, "include": ["nope.yaml"]}))
    with pytest.raises(UserError, match="include is a path"):
        load_config(write(tmp_path, {**RAW, "include": 3}))


def test_a_student_names_only_what_differs_in_its_distillation(tmp_path: Path) -> None:
    students = {"textcnn": {"preset": "textcnn_64", "distillation": {"alpha": 0.2}}}
    raw = {**RAW, "distillation": {"alpha": 3, "gamma": 2}, "students": students}
    config = load_config(write(tmp_path, raw))
    assert config.distillation_of("textcnn").alpha == 0.2
    assert config.distillation_of("textcnn").gamma == 2
    assert config.distillation.alpha == 3
    assert parse_config(yaml.safe_load(dump_config(config)), "dump") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials=0", r"search\.trials: .*greater than or equal to 1"),
        ("search.hours=0", r"search\.hours: .*greater than 0"),
        (
            "search.objective=acc",
            r"search\.objective: Input should be 'auc', 'gauc', .*found",
        ),
        ("search.sample=0", r"search\.sample: .*greater than 0"),
        ("search.space={a.b: {low: 2, high: 1}}", "range from 2 to 1 is empty"),
        ("search.space={a.b: {choices: []}}", "choices is empty"),
        ("search.space={a.b: {low: 1}}", "give low and high, or choices"),
        ("search.space={a.b: {low: 0, high: 1, sampling: log}}", "a log range begins above 0"),
        ("search.tuner=grid", "'bayesian', 'hyperband' or 'random'"),
    ],
)
def test_a_search_that_cannot_be_is_one_line(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(tmp_path, RAW), [override])
    assert "\n" not in str(caught.value)


def test_data_beside_the_project_needs_no_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDMATCH_DATA", raising=False)
    monkeypatch.setattr(kdmatch, "__file__", str(tmp_path / "project/kdmatch/__init__.py"))
    config = write(tmp_path, {**RAW, "data": {"train": "${KDMATCH_DATA}/train.parquet"}})
    with pytest.raises(UserError, match=r"\$\{KDMATCH_DATA\} is not set; export"):
        load_config(config)
    beside = tmp_path / "shared/data"
    beside.mkdir(parents=True)
    assert load_config(config).data.train == f"{beside}/train.parquet"


def test_a_model_has_its_recipe_below_its_own_keys(tmp_path: Path) -> None:
    models = {
        "teacher": {"preset": "bert_4l_384", "start": "package:x/y"},
        "further_teachers": {"teacher_b": {"preset": "bert_4l_384", "start": "vectors"}},
        "students": {
            "albert": {"preset": "albert_1l_384", "arguments": {"match_coverage": False}},
            "textcnn": {"preset": "textcnn_128", "training": {"steps": 100, "average": 0.5}},
            "cnn_attention": {"preset": "cnn_attention_128", "training": {"steps": 1000}},
        },
    }
    config = load_config(write(tmp_path, {**RAW, **models}))
    teacher, new = config.teacher, config.further_teachers["teacher_b"]
    assert teacher.arguments == {"match_details": True}
    assert new.arguments == {"match_details": True, "match_coverage": True}
    assert (teacher.training.learning_rate, new.training.learning_rate) == (1e-4, 3e-4)
    albert, textcnn, attention = (config.student(name) for name in models["students"])
    assert albert.arguments["match_coverage"] is False
    assert (albert.arguments["match_details"], albert.arguments["dropout"]) == (True, 0.0)
    assert (albert.training.steps, albert.training.average) == (6000, 0.998)
    assert (textcnn.training.steps, textcnn.training.average) == (100, 0.5)
    assert textcnn.training.learning_rate == 1e-3
    assert attention.training.average == 0.995  # the last fifth
    assert "match_characters" not in textcnn.arguments
    chinese = load_config(write(tmp_path, {**RAW, **models, "text": {"language": "zh"}}))
    assert chinese.student("textcnn").arguments["match_characters"] is True
    assert "match_characters" not in chinese.student("albert").arguments


@pytest.mark.parametrize(
    ("own", "common", "expected"),
    [
        (None, None, (0.3, 0.05, 0.2, "exp")),
        ({"scaling": "none"}, {"margin": 0.5}, (0.3, 0.05, 0.2, "none")),
        ({"beta": 0.1}, None, (1.0, 0.1, 1.0, "exp")),
        (None, {"gamma": 0.7}, (1.0, 0.5, 0.7, "exp")),
        ({"scaling": "none"}, {"alpha": 2.0}, (2.0, 0.5, 1.0, "none")),
    ],
)
def test_a_narrow_albert_has_its_own_losses_unless_any_is_named(
    tmp_path: Path, own: dict | None, common: dict | None, expected: tuple
) -> None:
    narrow = {"preset": "albert_1l_128"} | ({"distillation": own} if own else {})
    raw = {**RAW, "students": {"narrow": narrow, "wide": {"preset": "albert_1l_256"}}}
    raw |= {"distillation": common} if common else {}
    config = load_config(write(tmp_path, raw))
    losses = config.distillation_of("narrow")
    assert (losses.alpha, losses.beta, losses.gamma, losses.scaling) == expected
    assert losses.margin == (common or {}).get("margin", 0.7)
    assert config.distillation_of("wide") == config.distillation
    rates = [config.student(name).training.learning_rate for name in ("narrow", "wide")]
    assert rates == [1e-3, 4e-4]


@pytest.mark.parametrize("steps", ["2500", '"2500"', "2500.0", "${STEPS}"])
def test_however_steps_are_written_the_average_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str
) -> None:
    monkeypatch.setenv("STEPS", "2500")
    config = load_config(write(tmp_path, RAW), [f"students.textcnn.training.steps={steps}"])
    training = config.student("textcnn").training
    assert (training.steps, training.average) == (2500, 0.998)


def test_a_model_that_is_null_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    raw = {
        "name": "x",
        "data": {"train": "train.parquet"},
        "teacher": {"preset": "bert_4l_384"},
        "further_teachers": {"teacher_cnn": {"preset": "textcnn_128"}},
        "students": {"albert": {"preset": "albert_1l_384"}, "textcnn": {"preset": "textcnn_128"}},
    }
    path.write_text(yaml.safe_dump(raw))
    nulls = ["students.textcnn=null", "further_teachers.teacher_cnn=null"]
    config = load_config(path, nulls)
    assert list(config.students) == ["albert"]
    assert not config.further_teachers
    with pytest.raises(UserError, match="students is empty"):
        load_config(path, [*nulls, "students.albert=null"])


def test_quickstart_leaves_a_model_out_too(tmp_path: Path) -> None:
    from kdmatch.pipeline.quickstart import quickstart_config

    files = dict.fromkeys(("train", "valid", "test", "unlabelled"), tmp_path / "rows.parquet")
    config = quickstart_config(files, ["students.albert=null"])
    assert list(config.students) == ["textcnn", "cnn_attention"]


def test_a_resolved_config_gets_no_recipe(tmp_path: Path) -> None:
    """Or a run's own config would change with kdmatch."""
    resolved = load_config(write(tmp_path, RAW), recipes=False)
    assert resolved.teacher.arguments == {}
    assert resolved.teacher.training.average == 0
    (tmp_path / "config.yaml").write_text(dump_config(load_config(write(tmp_path, RAW))))
    again = load_config(tmp_path / "config.yaml")
    assert again == load_config(tmp_path / "config.yaml", recipes=False)


@pytest.mark.parametrize(
    "override",
    ["teacher=3", "teacher.training=fast", "teacher.arguments=[1]", "students=[albert]"]
    + [f"students.textcnn.training.steps={wrong}" for wrong in ("soon", "0", "null")],
)
def test_what_no_recipe_can_be_put_below_is_still_one_line(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError, match=override.partition("=")[0]) as caught:
        load_config(write(tmp_path, RAW), [override])
    assert "\n" not in str(caught.value)


def test_committed_configs_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDMATCH_DATA", "data")
    folder = Path(__file__).parents[2] / "configs"
    files = {file.stem: file for file in folder.glob("*.yaml")}
    assert set(files) >= {"homedepot", "qbqtc"}
    plain = {name: load_config(file) for name, file in files.items()}
    found = list(folder.glob("found/*.yaml"))  # what a search left, by the config it was made on
    assert found
    for file in found:
        name = file.stem.split("_")[0]
        assert load_config(files[name], include=[file]) != plain[name]
