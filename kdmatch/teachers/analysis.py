"""What a lexical ranker sees of one text: words, their stems or characters, numbers, units."""

import html
import re
import unicodedata
from dataclasses import dataclass

import rjieba

from kdmatch.text.english import BREAKS, PREPOSITIONS, STOP_WORDS, UNITS
from kdmatch.text.stem import stem

LANGUAGES = ("auto", "en", "zh")

_CANONICAL = {spelling: unit for unit, spellings in UNITS.items() for spelling in spellings}
_SPELLINGS = "|".join(re.escape(s) for s in sorted(_CANONICAL, key=len, reverse=True))

_MOST_CHARACTERS = 8192
_TAG = re.compile(r"<[^<>]{1,80}>")
_GLUED = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
# What begins within a word is none: the 12 of m12, the 10 of hz10.
_MIXED_FRACTION = re.compile(r"(?<![\w./])(\d{1,4})[\s-](\d{1,2})/(\d{1,3})(?![\d/])")
_FRACTION = re.compile(r"(?<![\w./])(\d{1,2})/(\d{1,3})(?![\d/])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_N_IN_N = re.compile(r"(?<=\d)[\s-]?in[\s-]?(?=\d)")
_MEASURE = re.compile(
    rf"(?<![^\W_])(\d{{1,12}}(?:\.\d{{1,12}})?|\.\d{{1,12}})[\s-]{{0,4}}((?:sq|cu)[\s.]+)?({_SPELLINGS})\.?(?![^\W_])"
)
_DIMENSION = re.compile(r"(?<=\d|\.|[a-z'\"”′″])\s*[x×*]\s*(?=\d)|(?<=\d)\s*[x×*]\s+(?=[a-z])")
_TOKEN = re.compile(r"\d+\.\d+|[^\W_]+|[(,;|]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?$")
_ZH_UNIT = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_ZH_MEASURE = re.compile(r"(\d+(?:\.\d+)?)\s*([\u3400-\u9fff]|[a-z%]+)?")
_ZH_ORDINAL = re.compile(r"第([零〇一二两三四五六七八九十百千]+)(?![万亿])")
_ZH_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
}
_ZH_POWERS = {"十": 10, "百": 100, "千": 1000}


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysed text.

    Attributes:
        text: str. Cleaned, lower-case text, one space between tokens.
        words: tuple of str. Words in order, without English stop words.
        units: tuple of str. English: the stem of each word. Chinese: single characters, and
            Latin or digit runs as one.
        measures: frozenset of (number, unit). Unit `""` where a number stands alone.
        head: int. Index in `words` of the word that names the thing, -1 where there is none.
    """

    text: str
    words: tuple[str, ...]
    units: tuple[str, ...]
    measures: frozenset[tuple[str, str]]
    head: int


def analyse(text: str, language: str) -> Analysis:
    """Cleans and splits one text.

    Args:
        text: str. Raw text, of which the first 8,192 characters are read; HTML entities and
            tags are removed.
        language: str. `"en"` or `"zh"`.

    >>> analyse("KOHLER 30-1/2 in. StainlessSteel Towel Bars in White", "en").words
    ('kohler', '30.5', 'inch', 'stainless', 'steel', 'towel', 'bars', 'white')
    """
    text = text[:_MOST_CHARACTERS]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = unicodedata.normalize("NFKC", text)
    return _analyse_chinese(text.lower()) if language == "zh" else _analyse_english(text)


def _decimal(whole: str, top: str, bottom: str) -> str:
    return f"{int(whole) + int(top) / int(bottom):.4g}" if int(bottom) else whole


def _clean_english(text: str) -> str:
    text = _GLUED.sub(" ", text).lower()
    if any(map(str.isdigit, text)):
        text = _THOUSANDS.sub("", text)
        if "/" in text or "⁄" in text:
            text = text.replace("⁄", "/")
            text = _MIXED_FRACTION.sub(lambda m: _decimal(m[1], m[2], m[3]), text)
            text = _FRACTION.sub(lambda m: _decimal("0", m[1], m[2]), text)
        text = _N_IN_N.sub("in", text)
        text = _DIMENSION.sub(" x ", text)
        text = _MEASURE.sub(
            lambda m: f" {float(m[1]):g} {m[2][:2] if m[2] else ''}{_CANONICAL[m[3]]} ", text
        )
    return text.replace("'", "").replace("’", "")


def _analyse_english(text: str) -> Analysis:
    tokens = _TOKEN.findall(_clean_english(text))
    words: list[str] = []
    measures = set()
    head = -1
    head_is_final = False
    for position, token in enumerate(tokens):
        if token in BREAKS or token in STOP_WORDS:
            head_is_final |= head >= 0 and (token in BREAKS or token in PREPOSITIONS)
            continue
        if _NUMBER.match(token):
            after = tokens[position + 1] if position + 1 < len(tokens) else ""
            unit = after if after.removeprefix("sq").removeprefix("cu") in UNITS else ""
            measures.add((token, unit))
        elif token not in UNITS and not head_is_final and not token.isdigit():
            head = len(words)
        words.append(token)
    if not words:
        words = [token for token in tokens if token not in BREAKS]
        head = len(words) - 1
    return Analysis(
        " ".join(token for token in tokens if token not in BREAKS),
        tuple(words),
        tuple(map(stem, words)),
        frozenset(measures),
        head,
    )


def _ordinal(match: re.Match[str]) -> str:
    value = _chinese_number(match[1])
    return match[0] if value is None else f"第{value}"


def _chinese_number(numeral: str) -> int | None:
    """The value of 一百二十 and the like; None of what is no numeral, such as 二三十.

    >>> [_chinese_number(numeral) for numeral in ("三", "十二", "一百零五", "二三十")]
    [3, 12, 105, None]
    """
    total, least = 0, 10_000
    digit: int | None = None
    for character in numeral:
        if character in _ZH_DIGITS:
            if digit:
                return None
            digit = _ZH_DIGITS[character]
            continue
        power = _ZH_POWERS[character]
        if power >= least:
            return None
        total, least = total + (1 if digit is None else digit) * power, power
        digit = None
    return total + (digit or 0)


def _analyse_chinese(text: str) -> Analysis:
    text = _ZH_ORDINAL.sub(_ordinal, text)
    words = tuple(word for word in rjieba.cut(text) if word[0].isalnum() or word.isalnum())
    measures = frozenset((m[1], m[2] or "") for m in _ZH_MEASURE.finditer(text))
    names = [i for i, word in enumerate(words) if not _NUMBER.match(word)]
    units = tuple(_ZH_UNIT.findall(text))
    return Analysis(" ".join(text.split()), words, units, measures, names[-1] if names else -1)
