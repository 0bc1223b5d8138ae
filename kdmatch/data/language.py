"""Which of the two languages that are told apart texts are in."""

import re
from collections.abc import Iterable

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def detect_language(documents: Iterable[str]) -> str:
    """`"zh"` where CJK characters are at least a third of the letters, otherwise `"en"`.

    Args:
        documents: iterable of str. All of them, or some that were not picked by how they begin.

    >>> detect_language(["爱情公寓 第3集", "小猫 cat"])
    'zh'
    """
    cjk = letters = 0
    for document in documents:
        cjk += len(_CJK.findall(document))
        letters += sum(map(str.isalpha, document))
    return "zh" if letters and cjk * 3 >= letters else "en"
