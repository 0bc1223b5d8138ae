"""A seeded, synthetic log of a video search, for trying kdmatch and for its tests.

Each query asks for one facet (an episode, a song, a recipe) of an invented entity. Text says what
matches: names and nicknames, synonyms, misspellings and numbers. How wanted a video is (popular,
fresh, from a good channel) also decides its label, and only the noisy `f_*` columns show that.
Labels are dear: of the training queries only some have them, the others are log alone.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.quickstart_words import LANGUAGES, Words
from kdmatch.errors import UserError

_SPLITS = ("train", "unlabelled", "valid", "test")
_HELD_OUT = 0.15
_ENTITIES = 48
_LABELLED = 0.4
_README = """# Synthetic data

Made by `kdmatch.data.quickstart.generate` (queries {queries}, seed {seed}, language {language}).
An invented video search log for trying the project and testing it. Nothing in it is real: no
number measured on it says anything about any model's quality elsewhere.

`train.parquet`, `valid.parquet`, `test.parquet` and `unlabelled.parquet` share no query. `label` is
0 to 3; 2 and 3 are relevant; `unlabelled.parquet` has none. `f_*` are features of a pair that its
text does not show.
"""


@dataclass(frozen=True)
class _Entity:
    kind: str
    name: str
    nickname: str


@dataclass(frozen=True)
class _Video:
    number: int
    entity: _Entity
    facet: str
    full: bool
    title: str
    appeal: float
    age: float
    quality: float


def generate(
    folder: Path, *, queries: int = 700, seed: int = 0, language: str = "en"
) -> dict[str, Path]:
    """Writes a small search log, the same bytes for the same arguments.

    Args:
        folder: Path. Gets `train.parquet`, `valid.parquet`, `test.parquet`,
            `unlabelled.parquet` and `README.md`.
        queries: int. Distinct queries, at least 20; each has 15 to 20 documents. Of the 70 %
            that are not held out, two fifths have labels.
        seed: int. Of everything.
        language: `"en"` or `"zh"`.

    Returns: split name to the file written.
    """
    if language not in LANGUAGES:
        raise UserError(f"quickstart language {language!r} is not one of {', '.join(LANGUAGES)}")
    if queries < 20:
        raise UserError(f"quickstart with {queries} queries is too small to split; use 20 or more")
    words = LANGUAGES[language]
    random = Random(f"kdmatch {language} {seed}")
    entities = _entities(words, random)
    videos = _videos(words, entities, random)
    asked: dict[str, list[dict[str, Any]]] = {}
    attempts = 0
    while len(asked) < queries:
        attempts += 1
        if attempts > 100 * queries:
            raise UserError(f"quickstart cannot invent {queries} distinct queries; ask for fewer")
        entity = random.choice(entities)
        facet = random.choice(words.facets[entity.kind])
        text = _query(words, entity, facet, random)
        if text not in asked:
            asked[text] = _page(f"q{len(asked):05}", text, entity, facet, videos, random)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    order = list(asked)
    random.shuffle(order)
    held_out = round(queries * _HELD_OUT)
    log = queries - 2 * held_out
    ends = [round(log * _LABELLED), log, log + held_out, queries]
    files: dict[str, Path] = {}
    for split, start, end in zip(_SPLITS, [0, *ends], ends, strict=False):
        rows = [row for text in order[start:end] for row in asked[text]]
        if split == "unlabelled":
            rows = [{**row, "label": None} for row in rows]
        files[split] = folder / f"{split}.parquet"
        table = pa.Table.from_pylist(rows)
        label = table.column_names.index("label")
        table = table.set_column(label, "label", table["label"].cast(pa.float64()))
        pq.write_table(table, files[split])
    readme = _README.format(queries=queries, seed=seed, language=language)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return files


def _entities(words: Words, random: Random) -> list[_Entity]:
    names = [f"{a}{words.joint}{b}" for a in words.first for b in words.second]
    nicknames = list(words.nicknames)
    random.shuffle(names)
    random.shuffle(nicknames)
    kinds = list(words.facets)
    return [
        _Entity(kinds[i % len(kinds)], names[i], nicknames[i])
        for i in range(min(_ENTITIES, len(nicknames)))
    ]


def _videos(words: Words, entities: list[_Entity], random: Random) -> list[_Video]:
    videos: list[_Video] = []
    for entity in entities:
        for facet in words.facets[entity.kind]:
            for _ in range(5):
                full = random.random() < 0.6
                rank = random.randrange(len(words.channels))
                quality = 1 - rank / (len(words.channels) - 1)
                age = random.expovariate(1 / 300)
                appeal = (
                    random.gauss(0, 0.8) + 1.0 * (quality - 0.5) + 0.4 * (1 - math.log1p(age) / 5)
                )
                title = _title(words, entity, facet, full, words.channels[rank], random)
                videos.append(_Video(len(videos), entity, facet, full, title, appeal, age, quality))
    return videos


def _said(words: Words, entity: _Entity, facet: str, random: Random) -> tuple[str, str]:
    name = entity.nickname if random.random() < 0.35 else entity.name
    facet = words.synonyms.get(facet, facet) if random.random() < 0.35 else facet
    if words.joint and facet.startswith("season") and random.random() < 0.5:
        _, season, _, episode = facet.split()
        facet = random.choice((f"s{season}e{episode}", f"S{season} ep {episode}"))
    return name, facet


def _title(
    words: Words, entity: _Entity, facet: str, full: bool, channel: str, random: Random
) -> str:
    name, facet = _said(words, entity, facet, random)
    title = random.choice(words.titles).format(name=name, facet=facet)
    style = random.choice(words.styles[0 if full else 1])
    ending = f" | {channel}" if random.random() < 0.4 else ""
    title = f"{random.choice(words.noise)}{title} {style}{ending}"
    return title.upper() if random.random() < 0.05 else title


def _query(words: Words, entity: _Entity, facet: str, random: Random) -> str:
    name, facet = _said(words, entity, facet, random)
    if random.random() < 0.15:
        name = _misspelled(name, random)
    return random.choice(words.queries[entity.kind]).format(name=name, facet=facet).lower()


def _misspelled(name: str, random: Random) -> str:
    if len(name) < 4:
        return name
    place = random.randrange(1, len(name) - 2)
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    return random.choice((swapped, name[:place] + name[place + 1 :]))


def _page(
    query_id: str, query: str, entity: _Entity, facet: str, videos: list[_Video], random: Random
) -> list[dict[str, Any]]:
    own = [v for v in videos if v.entity is entity]
    exact = [v for v in own if v.facet == facet]
    same_entity = [v for v in own if v.facet != facet]
    parts = set(entity.name.split()) | {entity.name[:2], entity.name[2:]}
    others = [v for v in videos if v.entity is not entity]
    alike = [
        v for v in others if v.facet == facet or parts & {*v.entity.name.split(), v.entity.name[:2]}
    ]
    page = [
        *exact,
        *random.sample(same_entity, random.randint(5, 7)),
        *random.sample(alike, min(len(alike), random.randint(4, 6))),
    ]
    taken = {v.number for v in page}
    page += random.sample([v for v in others if v.number not in taken], 2)
    random.shuffle(page)
    return [_row(query_id, query, entity, facet, video, random) for video in page]


def _row(
    query_id: str, query: str, entity: _Entity, facet: str, video: _Video, random: Random
) -> dict[str, Any]:
    match = 0.0
    if video.entity is entity:
        match = (2.3 if video.full else 1.6) if video.facet == facet else 0.9
    wanted = match + (0.75 if match else 0.2) * video.appeal + random.gauss(0, 0.25)
    shown = random.gauss(4, 1)
    interest = 0.5 * wanted + 0.3 * video.appeal + random.gauss(0, 0.8)
    return {
        "query_id": query_id,
        "query": query,
        "doc_id": f"d{video.number:05}",
        "document": video.title,
        "label": float(min(3, max(0, round(wanted)))),
        "f_click_rate": round(1 / (1 + math.exp(2.5 - interest)), 4),
        "f_clicks_log": round(max(0.0, shown + interest - 2.5), 3),
        "f_freshness_days": round(video.age * random.uniform(0.8, 1.2), 1),
        "f_channel_quality": round(video.quality + random.gauss(0, 0.1), 3),
        "f_popularity": round(video.appeal + random.gauss(0, 0.8), 3),
    }
