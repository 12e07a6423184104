"""Estimates of tokens: not less than what real tokenizers make of a text, in any script."""

import pytest

from shared.models.sizes import json_tokens, text_tokens

#: A text, and its tokens in o200k_base and cl100k_base, five times over (gpt-tokenizer 3).
_MEASURED = {
    "English": (
        "The quick brown fox jumps over the lazy dog, and then it decided to write an essay about database"
        " administration in Postgres. ",
        126,
        126,
    ),
    "German": (
        "Die Verwaltung der Rechnungen übernimmt das Finanzministerium, während Bürger außerhalb der"
        " Öffnungszeiten schreiben können. ",
        96,
        176,
    ),
    "Chinese": (
        "数据库是用来存储和管理数据的计算机系统,用户可以通过查询语言来获取所需要的信息,并且保证数据的一致性。",
        165,
        205,
    ),
    "Korean": (
        "데이터베이스는 데이터를 저장하고 관리하는 컴퓨터 시스템이며 사용자는 질의 언어로 정보를 얻습니다. ",
        122,
        222,
    ),
    "Hindi": (
        "डेटाबेस एक कंप्यूटर प्रणाली है जो डेटा को संग्रहीत और प्रबंधित करती है,"
        " और उपयोगकर्ता जानकारी प्राप्त करते हैं। ",
        151,
        546,
    ),
    "Arabic": (
        "قاعدة البيانات هي نظام حاسوبي لتخزين البيانات وإدارتها،"
        " ويمكن للمستخدمين الحصول على المعلومات بلغة الاستعلام. ",
        142,
        381,
    ),
    "Thai": (
        "ฐานข้อมูลคือระบบคอมพิวเตอร์ที่จัดเก็บและจัดการข้อมูล ผู้ใช้สามารถค้นหาข้อมูลด้วยภาษาสอบถาม ",
        159,
        400,
    ),
    "Amharic": ("የውሂብ ጎታ መረጃን የሚያከማች እና የሚያስተዳድር የኮምፒውተር ስርዓት ነው። ", 445, 597),
    "Burmese": ("ဒေတာဘေ့စ်သည် ဒေတာများကို သိမ်းဆည်းပြီး စီမံခန့်ခွဲသော ကွန်ပျူတာစနစ်ဖြစ်သည်။ ", 201, 741),
    "emoji": ("😀🎉🚀👩‍👩‍👧‍👦🇩🇪🍕🔥💡", 125, 199),
    "Python": (
        "def fit_history(items, tokens):\n    for item in reversed(items):\n        room -= _size(item)\n"
        "        if room < 0:\n            break\n",
        155,
        155,
    ),
    "digits": ("3141592653589793238462643383279502884197169399375105820974944592", 107, 107),
}


@pytest.mark.parametrize("script", _MEASURED)
def test_an_estimate_is_not_too_low_in_any_script(script: str) -> None:
    text, modern, older = _MEASURED[script]

    assert text_tokens(text * 5) >= max(modern, older)


def test_english_and_chinese_are_not_estimated_at_more_than_twice_an_older_tokenizer() -> None:
    for script in ("English", "Chinese"):
        text, _, older = _MEASURED[script]
        assert text_tokens(text * 5) <= 2 * older


def test_base64_is_denser_than_prose() -> None:
    # 1.8 bytes per token in both encodings.
    assert text_tokens("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAf" * 10) >= 400 / 1.8 * 0.66


@pytest.mark.parametrize("value", [{"n": 2**70}, {"text": "\ud800"}, {}])
def test_any_json_has_a_size(value: object) -> None:
    assert json_tokens(value) >= 1
    assert text_tokens("\ud800") >= 1
