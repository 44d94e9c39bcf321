"""Words of the plant: company names, credit codes, telephone numbers, people, materials. Drawn, never random here."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

CITIES = (
    ("上海", "021", "310115", "200120"),
    ("苏州", "0512", "320505", "215011"),
    ("无锡", "0510", "320214", "214028"),
    ("南京", "025", "320115", "211100"),
    ("杭州", "0571", "330108", "310051"),
    ("宁波", "0574", "330206", "315800"),
    ("温州", "0577", "330304", "325000"),
    ("合肥", "0551", "340111", "230022"),
    ("福州", "0591", "350100", "350001"),
    ("厦门", "0592", "350203", "361001"),
    ("济南", "0531", "370102", "250014"),
    ("青岛", "0532", "370211", "266555"),
    ("武汉", "027", "420112", "430040"),
    ("长沙", "0731", "430111", "410007"),
    ("广州", "020", "440116", "510663"),
    ("佛山", "0757", "440605", "528200"),
    ("深圳", "0755", "440306", "518101"),
    ("成都", "028", "510107", "610041"),
    ("重庆", "023", "500112", "401120"),
    ("西安", "029", "610113", "710065"),
    ("沈阳", "024", "210106", "110141"),
    ("大连", "0411", "210211", "116033"),
    ("天津", "022", "120116", "300457"),
    ("郑州", "0371", "410104", "450016"),
)
_FIRST, _SECOND = "恒华鑫瑞盛宏泰永兴安中远利德嘉", "通达源丰博科力信诚江洋川海天成威"
_LATIN = ("HT", "FLT", "ABT", "JQ", "DN", "GreenFlow", "AquaTec", "TH", "VTC", "Hydro")
_BRANDS = (*(first + second for first in _FIRST for second in _SECOND), *_LATIN)
_TRADES = (
    "水务设备",
    "化工",
    "环境工程",
    "流体机械",
    "石化装备",
    "市政工程",
    "暖通设备",
    "食品机械",
    "船舶配套",
    "电力设备",
)
_LEGAL_FORMS = ("有限公司", "有限公司", "有限公司", "有限责任公司", "股份有限公司")
_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = (
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "磊",
    "洋",
    "艳",
    "勇",
    "杰",
    "建国",
    "志强",
    "晓明",
    "丽华",
    "海燕",
    "文博",
    "子涵",
    "宇轩",
)
_STREETS = ("工业园区星湖街", "科技路", "人民路", "解放大道", "创业路", "开发区长江路", "高新大道", "滨江路", "建设路")
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_FULL_WIDTH = {c: c + 0xFEE0 for c in range(0x21, 0x7F)} | {0x20: 0x3000}

COMPANIES = len(CITIES) * len(_BRANDS) * len(_TRADES)
"""How many different companies there can be."""
_STRIDE = 7919


@dataclass(frozen=True)
class Company:
    """A company of the real world, whatever the systems call it."""

    number: int
    name: str
    credit_code: str
    city: str
    street: str
    postal_code: str
    area: str
    short_name: str
    """What people call it: no normalisation leads from here to the name, only the credit code tells who it is."""


def company(number: int, rng: Random) -> Company:
    """The company with this number; no two numbers below COMPANIES share a name."""
    index = number * _STRIDE % COMPANIES
    city, area, region, postal = CITIES[index % len(CITIES)]
    brand = _BRANDS[index // len(CITIES) % len(_BRANDS)]
    trade = _TRADES[index // (len(CITIES) * len(_BRANDS))]
    base = f"{brand}({city}){trade}" if rng.random() < 0.15 else f"{city}{brand}{trade}"
    street = f"{rng.choice(_STREETS)}{rng.randint(1, 999)}号"
    return Company(
        number,
        base + rng.choice(_LEGAL_FORMS),
        credit_code(region, rng),
        city,
        street,
        postal,
        area,
        f"{city}{brand}{trade[:2]}",
    )


def credit_code(region: str, rng: Random) -> str:
    """A valid unified social credit code (GB 32100-2015) with a valid organisation code (GB 11714) in it."""
    body = "MA" + "".join(rng.choice(_ALPHABET) for _ in range(6))
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    values = [int(c) if c.isdigit() else ord(c) - 55 for c in body]
    check = 11 - sum(w * v for w, v in zip(weights, values, strict=True)) % 11
    code = f"91{region}{body}{'X' if check == 10 else '0' if check == 11 else check}"
    return code + credit_code_check(code)


def credit_code_check(first17: str) -> str:
    """The check character of a unified social credit code (GB 32100-2015)."""
    total = sum(_ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(first17))
    return _ALPHABET[-total % 31]


def gtin(material: str) -> str:
    """The GTIN-13 (GS1) of a finished material, which its number tells."""
    body = f"69012{int(material.rpartition('-')[2]):07d}"
    total = sum(int(mark) * (3 if place % 2 else 1) for place, mark in enumerate(body))
    return f"{body}{-total % 10}"


def broken_credit_code(code: str) -> str:
    """The code with a wrong check character, as a typing mistake leaves it."""
    return code[:-1] + _ALPHABET[(_ALPHABET.index(code[-1]) + 1) % 31]


def full_width(text: str) -> str:
    """ASCII in its full-width form, as some input methods leave it."""
    return text.translate(_FULL_WIDTH)


def base_name(name: str) -> str:
    """The name without its legal form."""
    for form in ("股份有限公司", "有限责任公司", "有限公司"):
        if name.endswith(form):
            return name.removesuffix(form)
    return name


def spelling(name: str, rng: Random) -> str:
    """Another way to write a company's name that a careful normalisation (NFKC, blanks, legal form) brings back."""
    base = base_name(name)
    return rng.choice(
        (
            name,
            full_width(name),
            f"{base[:2]} {base[2:]}{name[len(base) :]}",
            base + rng.choice(("有限公司", "有限责任公司", "股份有限公司")),
            f"{base} Co., Ltd.",
            full_width(f"{base}Co.,Ltd."),
            f" {name}\u3000",
            name.replace("(", "（").replace(")", "）"),
        )
    )


def mobile(rng: Random) -> str:
    """A mobile number, 11 digits."""
    return rng.choice(("138", "139", "136", "158", "187", "199")) + f"{rng.randrange(10**8):08d}"


def landline(area: str, rng: Random) -> str:
    """A number in the city, without the area code."""
    return str(rng.randint(20000000, 89999999) if len(area) == 3 else rng.randint(2000000, 8999999))


def phone(area: str, rng: Random) -> str:
    """A telephone number in one of the styles that people type."""
    style = rng.randrange(9)
    number, cell = landline(area, rng), mobile(rng)
    return (
        f"{area}-{number}",
        f"+86 {area[1:]} {number[:-4]} {number[-4:]}",
        f"（{area}）{number}",
        full_width(f"{area}-{number}"),
        cell,
        f"{cell[:3]} {cell[3:7]} {cell[7:]}",
        f"+86-{cell}",
        f"0086 {cell}",
        full_width(cell),
    )[style]


def person(rng: Random) -> str:
    """A person's name."""
    return rng.choice(_SURNAMES) + rng.choice(_GIVEN)


PUMPS = (
    ("Centrifugal pump", "离心泵"),
    ("Gear pump", "齿轮泵"),
    ("Submersible pump", "潜水泵"),
    ("Metering pump", "计量泵"),
    ("Gate valve", "闸阀"),
    ("Ball valve", "球阀"),
    ("Butterfly valve", "蝶阀"),
    ("Check valve", "止回阀"),
)
PARTS = (
    ("Pump housing", "泵壳"),
    ("Impeller", "叶轮"),
    ("Shaft assembly", "轴组件"),
    ("Valve body", "阀体"),
    ("Bearing unit", "轴承组件"),
    ("Motor unit", "电机组件"),
)
RAW_MATERIALS = (
    ("Steel plate Q235", "钢板 Q235", "KG", 5_200),
    ("Stainless bar 304", "不锈钢棒 304", "KG", 18_500),
    ("Cast iron HT250", "铸铁 HT250", "KG", 6_800),
    ("Hexagon bolt M12", "六角螺栓 M12", "ST", 900),
    ("Mechanical seal", "机械密封", "ST", 85_000),
    ("O-ring NBR", "O型圈 NBR", "ST", 1_500),
    ("Ball bearing 6205", "轴承 6205", "ST", 16_000),
    ("Sealing cord", "密封绳", "M", 3_200),
    ("Copper cable", "铜电缆", "M", 12_400),
    ("Hydraulic oil 46", "液压油 46", "L", 14_000),
    ("Epoxy paint", "环氧漆", "L", 32_000),
)
OPERATIONS = (
    ("Turning", "WC-TURN"),
    ("Milling", "WC-MILL"),
    ("Drilling", "WC-DRIL"),
    ("Assembly", "WC-ASSY"),
    ("Pressure test", "WC-TEST"),
    ("Painting", "WC-PAIN"),
)
CHARACTERISTICS = (
    ("tightness", "bar", 15_500, 16_500),
    ("flow", "m3/h", 48_000, 52_000),
    ("bore diameter", "mm", 49_950, 50_050),
    ("coating thickness", "um", 80_000, 120_000),
    ("vibration", "mm/s", 0, 2_800),
)
SCRAP_REASONS = ("S01", "S02", "S07", "S11")
"""Machining fault, casting fault, leak, paint fault."""
