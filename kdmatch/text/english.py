"""English words that name nothing: units, prepositions, stop words."""

UNITS = {
    "inch": ("inches", "inch", "in", '"', "''", "”"),
    "foot": ("feet", "foot", "ft", "'", "’"),
    "yard": ("yards", "yard", "yd"),
    "pound": ("pounds", "pound", "lbs", "lb"),
    "ounce": ("ounces", "ounce", "oz"),
    "gallon": ("gallons", "gallon", "gal"),
    "quart": ("quarts", "quart", "qt"),
    "liter": ("liters", "litres", "liter", "litre", "l"),
    "watt": ("watts", "watt", "w"),
    "volt": ("volts", "volt", "v"),
    "amp": ("amperes", "ampere", "amps", "amp", "a"),
    "degree": ("degrees", "degree", "deg", "°"),
    "gauge": ("gauge", "ga"),
    "pack": ("packs", "pack", "pk"),
    "piece": ("pieces", "piece", "pcs", "pc"),
    "count": ("count", "ct"),
    "hour": ("hours", "hour", "hrs", "hr"),
    "minute": ("minutes", "minute", "min"),
    "mm": ("millimeters", "millimeter", "mm"),
    "cm": ("centimeters", "centimeter", "cm"),
    "meter": ("meters", "meter", "m"),
    "kg": ("kg",),
    "gram": ("grams", "gram", "g"),
    "ton": ("tons", "ton"),
    "btu": ("btus", "btu"),
    "psi": ("psi",),
    "hp": ("horsepower", "hp"),
    "season": ("season",),
    "episode": ("episode", "ep"),
}
PREPOSITIONS = frozenset(["in", "with", "for", "from", "by", "on", "without", "to", "at"])
STOP_WORDS = PREPOSITIONS.union("the a an of and or is are how what x w".split())  # noqa: SIM905
BREAKS = frozenset("(,;|")
