"""The sections on rows and their text: `data`, `text`, `transfer`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kdmatch.data.schema import OnBadRow
from kdmatch.pipeline.config.section import AddedLater, Section


class DataConfig(Section):
    """Where rows come from and what they mean.

    Attributes:
        train, valid, test: files of rows. Without valid or test, whole
            queries of train are split off by `split`.
        split: shares of queries for valid and for test.
        columns: the table's column name to the file's, such as `{query: search_term}`.
        unlabelled: files of pairs without labels that join the transfer rows, with
            the `f_*` columns that they have.
        corpus: text files, one text a line, plain or `.gz`, `.bz2` or `.xz`: for
            vocabularies, spelling, Word2Vec and pre-training.
        positive_threshold: a label from here on is a positive for AUC.
        on_bad_row: "error", or "skip" (counted, written to `data/bad_rows.jsonl`).
    """

    train: str
    valid: str | None = None
    test: str | None = None
    split: tuple[float, float] = (0.1, 0.1)
    columns: dict[str, str] = Field(default={})
    unlabelled: list[str] = Field(default=[])
    corpus: list[str] = Field(default=[])
    positive_threshold: float = 0.5
    on_bad_row: OnBadRow = "error"


class WordPieceConfig(Section):
    """WordPiece for BERT and ALBERT.

    Attributes:
        vocabulary: `vocab.txt`, or a Hugging Face directory that holds one;
            `package:NAME/SUB` looks inside a Python package. None trains a
            vocabulary of 8,000 on the run's own text.
        lower_case: uncased.
        max_query_tokens, max_tokens: query and packed length kept.
    """

    vocabulary: str | None = None
    lower_case: bool = True
    max_query_tokens: int = Field(default=24, ge=1)
    max_tokens: int = Field(default=64, ge=8, le=512)


class WordsConfig(Section):
    """Words and Word2Vec for the TextCNNs.

    Attributes:
        vocabulary_size: words and characters at most.
        min_count: rarer ones are left out.
        max_query_words, max_document_words: words of each side kept.
        dimension, epochs, window: Word2Vec's; 0 epochs starts at random.
        encoder: a pre-trained sentence encoder whose vectors of words, each read alone, a TextCNN
            that starts from vectors or the teacher has beside Word2Vec's: as `gbdt.sentences`.
    """

    vocabulary_size: int = Field(default=50_000, ge=100)
    min_count: int = Field(default=2, ge=1)
    max_query_words: int = Field(default=24, ge=1)
    max_document_words: int = Field(default=48, ge=1)
    dimension: int = Field(default=128, ge=8)
    epochs: int = Field(default=8, ge=0)
    window: int = Field(default=5, ge=1)
    encoder: Annotated[str | None, AddedLater()] = None


class TextConfig(Section):
    """Both encoders.

    Attributes:
        language: "en", "zh" or "auto": of the GBDT's text features and of the search for
            transfer rows; `zh` also lets a TextCNN compare characters.
        correct: whether misspelt words of queries are corrected, for all (uncased)
            matchers; see `kdmatch.text.spelling`.
    """

    language: Literal["auto", "en", "zh"] = "auto"
    correct: bool = True
    wordpiece: WordPieceConfig = WordPieceConfig()
    words: WordsConfig = WordsConfig()

    @model_validator(mode="after")
    def _a_cased_vocabulary_is_given(self) -> "TextConfig":
        if not self.wordpiece.lower_case and not self.wordpiece.vocabulary:
            raise ValueError(
                "wordpiece.lower_case is false, and the vocabulary that a run makes is of lower "
                "case; give a cased wordpiece.vocabulary"
            )
        return self


class TransferConfig(Section):
    """Unlabelled pairs for distillation: neighbours of queries.

    Attributes:
        per_query: documents for each training query; 0 for none.
        share: share of each distillation batch that is transfer rows.
        deep_share: share of the documents drawn from deeper in the ranking.
        made: made-up queries for each training query; see `kdmatch.data.made_queries`.
        per_made: documents for each of those.
    """

    per_query: int = Field(default=16, ge=0)
    share: float = Field(default=0.6, ge=0, lt=1)
    deep_share: float = Field(default=0.25, ge=0, le=1)
    made: Annotated[float, AddedLater()] = Field(default=0.0, ge=0)
    per_made: Annotated[int, AddedLater()] = Field(default=8, ge=1)
