"""`Spelling` inside the graph."""

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops.regex_split_ops import gen_regex_split_ops

from kdmatch.text.spelling import LONGEST, SHORTEST, WORD, Spelling

_OTHERS = r"([^\p{L}\p{M}]+)"
_NONE = "\ufffd"


class Speller:
    """Corrects texts with TensorFlow's ops, as `Spelling.correct` does.

    Args:
        spelling: Spelling.

    Call args:
        text: string `(batch,)`, valid UTF-8.

    Returns:
        string `(batch,)`: each folded (NFKC, lower case) where a word of it is corrected.

    >>> speller = Speller(Spelling(["kitchen", "faucet"], offered=2))
    >>> speller(tf.constant(["KITCHEEN-facuet 60W"])).numpy().tolist()
    [b'kitchen-faucet 60w']
    """

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        keys = list(dict.fromkeys([*spelling.known, *spelling.shortened]))
        # A trie of whole words, within an op: a hash table would be state for an export to carry.
        self._keys = tf_text.FastWordpieceTokenizer(
            vocab=[_NONE, *keys],
            token_out_type=tf.int32,
            unknown_token=_NONE,
            no_pretokenization=True,
        )
        self._known = np.array([False, *(key in spelling.known for key in keys)])
        self._whole, self._shortened = (
            np.array([0, *(ranks.get(key, 0) for key in keys)], np.int32)
            for ranks in (spelling.whole, spelling.shortened)
        )

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        folded = tf.strings.lower(tf_text.normalize_utf8(text, "NFKC"))
        runs, _, _, splits = gen_regex_split_ops.regex_split_with_offsets(folded, _OTHERS, _OTHERS)
        strange = tf.logical_and(
            tf.strings.regex_full_match(runs, WORD),
            tf.logical_not(tf.gather(self._known, self._find(runs))),
        )

        def correct() -> tf.Tensor:
            places = tf.where(strange)
            words = tf.boolean_mask(runs, strange)
            meant = tf.tensor_scatter_nd_update(runs, places, self._correct(words))
            row = tf.repeat(tf.range(tf.size(text)), splits[1:] - splits[:-1])
            corrected = tf.strings.unsorted_segment_join(meant, row, tf.size(text))
            return tf.where(tf.equal(corrected, folded), text, corrected)

        # Of most pages no word is strange, and to correct none takes as long as to correct one.
        return tf.cond(tf.reduce_any(strange), correct, lambda: text)

    def _correct(self, words: tf.Tensor) -> tf.Tensor:
        length = tf.strings.length(words)
        row = tf.repeat(tf.range(tf.size(words)), length)
        letter = tf.range(tf.size(row)) - tf.repeat(tf.cumsum(length, exclusive=True), length)
        longer, rest = tf.gather(words, row), tf.fill(tf.shape(row), LONGEST)
        shorter = self._find(
            tf.strings.join(
                [
                    tf.strings.substr(longer, tf.zeros_like(letter), letter),
                    tf.strings.substr(longer, letter + 1, rest),
                ]
            )
        )
        fewer, other = (
            _smallest(tf.gather(ranks, shorter), row, tf.size(words))
            for ranks in (self._whole, self._shortened)
        )
        more = tf.gather(self._shortened, self._find(words))
        near = tf.where(more == 0, fewer, tf.where(fewer == 0, more, tf.minimum(fewer, more)))
        other = other * tf.cast(length > SHORTEST, tf.int32)
        rank = tf.where(near > 0, near, other)
        return tf.where(rank > 0, tf.gather(["", *self._spelling.words], rank), words)

    def _find(self, words: tf.Tensor) -> tf.Tensor:
        """Number of each word, which is not empty, among the keys, 0 where it is none."""
        return self._keys.tokenize(words).values


def _smallest(ranks: tf.Tensor, row: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The smallest of each row's ranks that is not 0, else 0."""
    far = tf.int32.max
    found = tf.math.unsorted_segment_min(tf.where(ranks > 0, ranks, far), row, rows)
    return tf.where(found < far, found, 0)
