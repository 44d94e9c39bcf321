"""Parties and materials as three systems write them, with the truth about which are the same.

Made from a seed: true companies and articles first, among them many that are alike and different (namesakes in other
cities, other trades of one brand, branches, homophones, the next size of a screw), then each as ERP, CRM and a second
ERP would hold it, with the dirt of `PARTY_DIRT` and `MATERIAL_DIRT`. Run it alone to see some:
`python tests/support/golden_corpus.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import opencc


def _words(text: str) -> list[str]:
    return text.split()


_BRANDS = _words(
    """
    恒通 鑫达 兴川 瑞川 德川 华泰 金石 东风 远景 天合 正泰 宏发 立讯 捷佳 博众 汇川 长盈 科达 永高 伟星
    海信 新松 大族 三花 盾安 春兰 双良 亚威 沃尔 精测 中控 万丰 拓普 旭升 爱柯 亨通 中天 通鼎 永鼎 特变
    许继 平高 长江 黄河 泰山 昆仑 长白 武夷 珠峰 太湖 洪泽 鄱阳 振华 振兴 建华 建兴 光明 光大 明光 大光
    嘉禾 嘉和 佳禾 佳和 鸿运 宏运 红运 鸿远 宏远 博远 博源 博元 欣源 新源 鑫源 信源
    """
)
_TRADES = _words(
    """
    水务 化工 机械 电气 电力设备 精密机械 自动化设备 环保科技 新材料 电子科技 汽车零部件 仪器仪表 阀门
    泵业 轴承 紧固件 包装 物流 建材 五金 塑胶 模具 线缆 重工
    """
)
_CITIES = _words(
    """
    上海 北京 苏州 无锡 宁波 杭州 广州 深圳 佛山 东莞 成都 重庆 武汉 长沙 合肥 青岛 济南 天津 沈阳 大连
    西安 郑州 厦门 福州
    """
)
_STREETS = _words(
    """
    中山路 人民路 解放路 建设路 工业大道 科技园路 长江路 黄河路 创业路 迎宾大道 新华路 和平路
    """
)
_LEGAL = ("有限公司", "有限公司", "有限公司", "股份有限公司", "有限责任公司", "集团有限公司")
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_SOUNDS_ALIKE = dict(
    zip("恒达兴华泰金石景合正海新大科博立振光明源运", "衡答星桦态今时境和政诲心达棵搏力震珖鸣园韵", strict=True)
)
_T = opencc.OpenCC("s2t")


@dataclass(frozen=True)
class Row:
    """A record of a system, and the truth that it stands for. `dirt` names what was done to it."""

    truth: str
    source_system: str
    source_key: str
    fields: dict[str, Any]
    dirt: tuple[str, ...]


def credit_code(dice: random.Random) -> str:
    """A valid unified social credit code (GB 32100-2015)."""
    body = "91" + "".join(dice.choice("0123456789") for _ in range(6))
    body += "".join(dice.choice(_ALPHABET) for _ in range(9))
    total = sum(_ALPHABET.index(mark) * pow(3, place, 31) for place, mark in enumerate(body))
    return body + _ALPHABET[(31 - total % 31) % 31]


def full_width(text: str) -> str:
    """ASCII in its full-width forms."""
    return "".join(chr(ord(mark) + 0xFEE0) if "!" <= mark <= "~" else mark for mark in text)


@dataclass
class _Company:
    truth: str
    city: str
    brand: str
    trade: str
    legal: str
    credit_code: str
    phone: str
    street: str
    domain: str
    branch: str = ""

    @property
    def name(self) -> str:
        return f"{self.city}{self.brand}{self.trade}{self.legal}{self.branch}"


def companies(dice: random.Random, count: int) -> list[_Company]:
    """True companies: a third of them differ from another one in the city, the trade or as its branch only."""
    made: list[_Company] = []
    seen: set[str] = set()
    while len(made) < count:
        like = dice.choice(made) if made and dice.random() < 0.35 else None
        new = _Company(
            truth=f"P{len(made)}",
            city=dice.choice(_CITIES),
            brand=dice.choice(_BRANDS),
            trade=dice.choice(_TRADES),
            legal=dice.choice(_LEGAL),
            credit_code=credit_code(dice),
            phone=dice.choice(("021", "010", "0512", "0755")) + str(dice.randint(20000000, 89999999)),
            street=f"{dice.choice(_STREETS)}{dice.randint(1, 999)}号",
            domain=f"{''.join(dice.choice('abcdefghijklmnop') for _ in range(7))}.com",
        )
        if like:
            what = dice.choice(("city", "trade", "branch"))
            new.brand = like.brand
            if what == "city":
                new.trade = like.trade
            elif what == "trade":
                new.city = like.city
            elif not like.branch and "公司" in like.legal:
                new.trade, new.city, new.legal = like.trade, like.city, like.legal
                new.branch = f"{dice.choice([city for city in _CITIES if city != like.city])}分公司"
        # the register refuses a name that differs in the legal form only
        if (bare := f"{new.city}{new.brand}{new.trade}{new.branch}") not in seen:
            seen.add(bare)
            made.append(new)
    return made


_Dirt = Callable[[random.Random, dict[str, Any], _Company], None]


def _no_region(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    row["party_name"] = f"{of.brand}{of.trade}{of.legal}{of.branch}"


def _region_in_brackets(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    left, right = dice.choice(("()", "（）"))
    row["party_name"] = f"{of.brand}{of.trade}{left}{of.city}{right}{of.legal}{of.branch}"


def _other_form(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    # a branch is told by what stands behind the form
    form = dice.choice(("有限公司", "有限责任公司", "公司" if of.branch else ""))
    row["party_name"] = f"{of.city}{of.brand}{of.trade}{form}{of.branch}"


def _transposed(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    row["party_name"] = f"{of.city}{of.trade}{of.brand}{of.legal}{of.branch}"


def _homophone(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    brand = "".join(_SOUNDS_ALIKE.get(mark, mark) for mark in of.brand)
    row["party_name"] = f"{of.city}{brand}{of.trade}{of.legal}{of.branch}"


def _dropped(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
    place = dice.randrange(len(of.trade))
    row["party_name"] = f"{of.city}{of.brand}{of.trade[:place]}{of.trade[place + 1 :]}{of.legal}{of.branch}"


def _on_name(change: Callable[[random.Random, str], str]) -> _Dirt:
    def dirty(dice: random.Random, row: dict[str, Any], of: _Company) -> None:
        row["party_name"] = change(dice, row["party_name"])

    return dirty


def _blanks(dice: random.Random, text: str) -> str:
    place = dice.randrange(1, len(text))
    return f" {text[:place]}{dice.choice((' ', '　', '·', '-'))}{text[place:]} "


NAME_DIRT: dict[str, _Dirt] = {
    "region missing": _no_region,
    "region in brackets": _region_in_brackets,
    "another legal form": _other_form,
    "transposed words": _transposed,
    "homophone": _homophone,
    "a character dropped": _dropped,
}
SPELLING_DIRT: dict[str, _Dirt] = {
    "traditional": _on_name(lambda _, text: _T.convert(text)),
    "blanks and punctuation": _on_name(_blanks),
    "full-width brackets": _on_name(lambda _, text: text.replace("(", "（").replace(")", "）")),
    "province mark": _on_name(
        lambda _, text: text if not text.startswith(tuple(_CITIES)) else f"{text[:2]}市{text[2:]}"
    ),
}


def _phone(dice: random.Random, phone: str) -> str:
    area, number = phone[:-8], phone[-8:]
    return dice.choice(
        (f"+86{area[1:]}{number}", f"{area}-{number}", f"({area}){number}", full_width(f"{area}-{number}"), number)
    )


def parties(seed: int, count: int) -> list[Row]:
    """`count` companies, each in one to three systems, the CRM sometimes twice."""
    dice = random.Random(seed)
    rows: list[Row] = []
    for of in companies(dice, count):
        systems = dice.sample(("erp", "crm", "tryton"), dice.choice((1, 2, 2, 3)))
        if "crm" in systems and dice.random() < 0.2:
            systems.append("crm")
        for system in systems:
            rows.append(_party(dice, of, system, f"{system[0]}{len(rows)}"))
    dice.shuffle(rows)
    return rows


def _party(dice: random.Random, of: _Company, system: str, key: str) -> Row:
    clean = system == "erp"
    row: dict[str, Any] = {
        "party_name": of.name,
        "credit_code": of.credit_code if dice.random() < (0.9 if clean else 0.45) else None,
        "erp_number": None,
        "city": of.city if dice.random() < 0.9 else None,
        "street": of.street if dice.random() < 0.75 else None,
        "phone": of.phone if dice.random() < (0.85 if clean else 0.75) else None,
        "email": f"sales@{of.domain}" if dice.random() < (0.3 if clean else 0.6) else None,
    }
    dirt: list[str] = []
    if not clean and dice.random() < 0.6:
        name, change = dice.choice(list(NAME_DIRT.items()))
        change(dice, row, of)
        dirt.append(name)
    for name, change in SPELLING_DIRT.items():
        if dice.random() < (0.03 if clean else 0.15):
            change(dice, row, of)
            dirt.append(name)
    if row["city"] and dice.random() < 0.4:
        row["city"] += "市"
        dirt.append("city with 市")
    if row["street"] and dice.random() < 0.3:
        row["street"] = full_width(row["street"]).replace("号", " 号")
        dirt.append("full-width address")
    if row["street"] and dice.random() < 0.1:
        row["street"] = None
        dirt.append("no street")
    if row["phone"] and dice.random() < 0.5:
        row["phone"] = _phone(dice, row["phone"])
        dirt.append("telephone written otherwise")
    elif row["phone"] and dice.random() < 0.08:
        row["phone"] = of.phone[:-4] + str(dice.randint(1000, 9999))
        dirt.append("another extension")
    if row["email"] and dice.random() < 0.3:
        row["email"] = row["email"].upper()
        dirt.append("e-mail in capitals")
    return Row(of.truth, system, key, row, tuple(dirt))


_NOUNS = _words(
    """
    六角螺栓 内六角螺钉 深沟球轴承 圆锥滚子轴承 离心泵 隔膜泵 球阀 闸阀 蝶阀 电动机 减速机 联轴器 密封圈
    法兰 弯头 钢管 铜排 电缆 接触器 断路器
    """
)
_GRADES = _words(
    """
    不锈钢 碳钢 304 316L 黄铜 镀锌 尼龙 铸铁
    """
)


@dataclass
class _Article:
    truth: str
    noun: str
    grade: str
    size: str
    unit: str
    weight: float
    gtin: str


def _articles(dice: random.Random, count: int) -> list[_Article]:
    made: dict[tuple[str, str, str], _Article] = {}
    while len(made) < count:
        noun, grade = dice.choice(_NOUNS), dice.choice(_GRADES)
        for _ in range(dice.randint(1, 4)):
            # a family: the same article in the next size
            size = dice.choice(
                (
                    f"M{dice.choice((6, 8, 10, 12, 16))}×{dice.choice((20, 25, 30, 40, 45, 50))}",
                    f"DN{dice.choice((15, 20, 25, 32, 40, 50, 65, 80))}",
                    f"{dice.choice((6204, 6205, 6206, 30205, 30206))}",
                    f"{dice.choice((1.5, 2.2, 4, 5.5, 7.5))}KW",
                )
            )
            digits = f"69{dice.randint(10**9, 10**10 - 1)}"
            total = sum(int(mark) * (1 if place % 2 == 0 else 3) for place, mark in enumerate(digits))
            made.setdefault(
                (noun, grade, size),
                _Article(
                    truth=f"A{len(made)}",
                    noun=noun,
                    grade=grade,
                    size=size,
                    unit=dice.choice(("EA", "EA", "KGM", "MTR")),
                    weight=round(dice.uniform(0.01, 80), 3),
                    gtin=f"{digits}{(10 - total % 10) % 10}",
                ),
            )
    return list(made.values())[:count]


MATERIAL_DIRT: dict[str, Callable[[random.Random, _Article], str]] = {
    "size first": lambda _, of: f"{of.size} {of.grade}{of.noun}",
    "grade last": lambda _, of: f"{of.noun} {of.size} {of.grade}",
    "grade first": lambda _, of: f"{of.grade}{of.noun} {of.size}",
    "star for times": lambda _, of: f"{of.noun}{of.size.replace('×', '*')} {of.grade}",
    "x for times": lambda _, of: f"{of.noun} {of.grade} {of.size.replace('×', 'x')}",
    "full width": lambda _, of: full_width(f"{of.noun} {of.grade} {of.size}"),
    "traditional": lambda _, of: _T.convert(f"{of.noun} {of.grade} {of.size}"),
    "lower case": lambda _, of: f"{of.noun} {of.grade} {of.size.lower()}",
    "brackets": lambda _, of: f"{of.noun}（{of.grade}）{of.size}",
    "millimetres": lambda _, of: f"{of.noun} {of.grade} {of.size}{'mm' if of.size.startswith('M') else ''}",
}


def materials(seed: int, count: int) -> list[Row]:
    """`count` articles, each in one to three systems."""
    dice = random.Random(seed)
    rows: list[Row] = []
    for of in _articles(dice, count):
        for system in dice.sample(("erp", "mes", "tryton"), dice.choice((1, 2, 3))):
            name, dirt = f"{of.noun} {of.grade} {of.size}", ()
            if system != "erp":
                word, change = dice.choice(list(MATERIAL_DIRT.items()))
                name, dirt = change(dice, of), (word,)
            fields: dict[str, Any] = {
                "material_name": None,
                "material_name_zh": name,
                "gtin": of.gtin if dice.random() < 0.35 else None,
                "base_unit": of.unit if dice.random() < 0.95 else "EA",
                "material_type": "RAW" if dice.random() < 0.9 else "TRADING",
                "net_weight": of.weight if dice.random() < 0.5 else None,
                "weight_unit": "KGM",
            }
            rows.append(Row(of.truth, system, f"{system[0]}{len(rows)}", fields, dirt))
    dice.shuffle(rows)
    return rows


if __name__ == "__main__":
    for row in sorted(parties(1, 12), key=lambda row: row.truth):
        print(row.truth, row.source_system, row.fields["party_name"], row.fields["phone"], row.fields["city"], row.dirt)
    for row in sorted(materials(1, 8), key=lambda row: row.truth):
        print(row.truth, row.source_system, row.fields["material_name_zh"], row.dirt)
