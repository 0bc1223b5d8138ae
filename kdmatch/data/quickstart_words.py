"""What the synthetic video log of `kdmatch.data.quickstart` is made of, in English and Chinese."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Words:
    """Parts of names and templates of one language.

    Attributes:
        first, second: parts of invented names; a name is one of each.
        nicknames: what fans call an entity, one each, sharing no word with its name.
        joint: str between two parts of a name.
        facets: kind of entity to its facets; `{n}` stands for a number.
        queries: kind to query templates of `{name}` and `{facet}`.
        titles: title templates of `{name}` and `{facet}`.
        styles: endings of titles that answer the query fully (first) and half (second).
        synonyms: facet to another way to say it.
        channels: channel names, best quality first.
        noise: what uploaders put before and after a title.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    nicknames: tuple[str, ...]
    joint: str
    facets: dict[str, tuple[str, ...]]
    queries: dict[str, tuple[str, ...]]
    titles: tuple[str, ...]
    styles: tuple[tuple[str, ...], tuple[str, ...]]
    synonyms: dict[str, str]
    channels: tuple[str, ...]
    noise: tuple[str, ...] = field(default=("",))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


ENGLISH = Words(
    first=_split(
        "Silent, Crimson, Golden, Broken, Hidden, Winter, Midnight, Electric, Paper, Velvet,"
        " Distant, Burning, Lucky, Iron, Sugar, Wild, Neon, Marble"
    ),
    second=_split(
        "Harbor, Valley, Garden, Kingdom, Mirror, River, Station, Dragon, Letters, Orchard,"
        " Empire, Lantern, Rabbit, Thunder, Bakery, Forest, Circus, Planet"
    ),
    nicknames=_split(
        "zebo, quidd, marlo, tanzy, vexa, jubb, korin, plim, ostra, fendi boys, wuzzle, hexley,"
        " nimbo, tarq, ruffo, yolanth, drizz, pomtom, skeeb, lantis, gorvo, mibs, catto, bruna,"
        " zolly, umbo, pefka, ridley gang, tosk, vanto, nooki, dappa, siffer, quello, hobbin,"
        " jenko, wambo, crixus, ellory, duffle, borsk, tiggs, aldra, moxon, pippa crew, yarrow,"
        " fosk, grendo, lumo, nettle, okapi, prax, sulo, tern, ulfo, wexel, xandi, zanta"
    ),
    joint=" ",
    facets={
        "show": tuple(f"season {s} episode {e}" for s in (1, 2, 3) for e in (1, 4, 7, 10)),
        "singer": _split(
            "stay with me, falling slow, blue train, hey mama, last summer, run home, lonely road,"
            " two hearts"
        ),
        "film": _split("trailer, full movie, ending explained, soundtrack, behind the scenes"),
        "game": (*(f"level {n} walkthrough" for n in (3, 8, 12, 20)), "boss guide", "speedrun"),
        "recipe": _split("easy recipe, vegan version, without oven, sauce, for beginners"),
    },
    queries={
        "show": ("{name} {facet}", "watch {name} {facet}", "{facet} of {name}"),
        "singer": ("{name} {facet}", "{facet} by {name}", "{facet} {name} song"),
        "film": ("{name} {facet}", "{facet} {name} film"),
        "game": ("{name} {facet}", "how to beat {name} {facet}"),
        "recipe": ("how to make {name} cake {facet}", "{name} cake {facet}"),
    },
    titles=("{name} - {facet}", "{facet} | {name}", "{name}: {facet}", "{name} ({facet})"),
    styles=(
        _split("official video, HD, full, complete, original"),
        _split("reaction, cover, fan edit, clip, review, parody, recap"),
    ),
    synonyms={
        "trailer": "teaser", "full movie": "whole film", "ending explained": "finale theory",
        "soundtrack": "OST", "behind the scenes": "making of", "boss guide": "final enemy tips",
        "speedrun": "world record", "easy recipe": "in 10 minutes", "vegan version": "plant based",
        "without oven": "no bake", "for beginners": "step by step", "sauce": "topping",
    },
    channels=_split("StarView, PrimeScreen, CineBox, DailyClips, FunTube, xXuploadsXx, FreeVidz"),
    noise=("", "", "", "NEW! ", "[4K] ", "#trending ", "WOW "),
)  # fmt: skip

CHINESE = Words(
    first=_split("寂静,绯红,黄金,破碎,隐秘,冬日,午夜,电光,纸上,丝绒,远方,燃烧,幸运,钢铁,蜜糖,狂野,霓虹,云端"),
    second=_split("港湾,山谷,花园,王国,镜子,河流,车站,巨龙,书信,果园,帝国,灯笼,白兔,惊雷,面包房,森林,马戏团,星球"),
    nicknames=_split(
        "阿泽,小葵哥,麻辣团,唐糖,维小夏,球球党,可林,胖梨,奥斯塔,芬迪家,乌龙帮,海克斯,宁波仔,塔可,鲁夫,悠悠姐,"
        "滴滴侠,胖汤姆,斯基,兰蒂,戈沃,咪宝,猫头,布鲁娜,左力,安波,佩卡,雷德利,托斯克,万图,努基,达芭,西弗,"
        "圭洛,霍宾,真可,旺波,克里斯,艾洛,杜夫,波斯客,提格,阿朵拉,莫克森,皮帕,雅罗,佛斯,格伦多,露默,奈头"
    ),
    joint="",
    facets={
        "show": tuple(f"第{s}季第{e}集" for s in (1, 2, 3) for e in (1, 4, 7, 10)),
        "singer": _split("留在身边,慢慢坠落,蓝色列车,嘿妈妈,去年夏天,跑回家,孤单的路,两颗心"),
        "film": _split("预告片,完整版电影,结局解析,原声音乐,幕后花絮"),
        "game": (*(f"第{n}关攻略" for n in (3, 8, 12, 20)), "打首领教程", "速通"),
        "recipe": _split("简单做法,素食版,不用烤箱,酱汁,新手教程"),
    },
    queries={
        "show": ("{name}{facet}", "{name} {facet}", "{facet}{name}在线看"),
        "singer": ("{name}{facet}", "{facet} {name}", "{name}唱的{facet}"),
        "film": ("{name}{facet}", "电影{name} {facet}"),
        "game": ("{name}{facet}", "{name}{facet}怎么过"),
        "recipe": ("{name}蛋糕{facet}", "怎么做{name}蛋糕 {facet}"),
    },
    titles=("{name} {facet}", "{facet}｜{name}", "《{name}》{facet}", "【{name}】{facet}"),
    styles=(
        _split("官方,高清,完整,正片,原版"),
        _split("反应视频,翻唱,剪辑,片段,点评,恶搞,速看"),
    ),
    synonyms={
        "预告片": "先导片", "完整版电影": "全片", "结局解析": "大结局解读", "原声音乐": "配乐",
        "幕后花絮": "拍摄现场", "打首领教程": "最终敌人技巧", "速通": "世界纪录",
        "简单做法": "十分钟搞定", "素食版": "纯植物", "不用烤箱": "免烤", "新手教程": "一步一步学",
        "酱汁": "淋面",
    },
    channels=_split("星视频,首映厅,影盒,每日片段,乐看,随手传,免费看"),
    noise=("", "", "", "最新！", "【超清】", "#热门 ", "震惊 "),
)  # fmt: skip

LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
