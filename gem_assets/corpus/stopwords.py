"""Short lists of the most frequent function words of some languages; a language without a list has no entry."""

from typing import Final

STOPWORDS: Final[dict[str, frozenset[str]]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the of and to in a is that for it was on with as he be by at i this are or his from not you had have "
        "but they which she we an were been has their will if there can all her would who what so my when",
        "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
        "er hat dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur",
        "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont la avec "
        "son aux cette ou mais comme on tout nous sa été être ces leur elle fait ont y vous",
        "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si "
        "sin sobre este ya entre cuando todo esta ser son dos también fue había era muy años hasta desde",
        "it": "di e il la che in a per un è del non i con le una da si sono della al come più dei nel alla lo ha anche "
        "delle ma gli su se questo o dalla ai essere nella era stato ci ed dal tra",
        "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à "
        "seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre",
        "nl": "de van het een en in is dat op te zijn met voor niet die aan er om ook als dan maar door bij nog wel "
        "uit "
        "naar heeft deze over was worden tot hij werd ze kan wordt geen hun of meer",
        "ru": "и в не на что он с как а то это по к но из у за от же так его все для бы о только еще мы я было был "
        "или они при вы ее до если ты уже когда этого их может",
        "ar": "في من على إلى أن عن هذا التي مع ما كان هذه الذي لا هو و بعد بين كل أو قد كما لم هي ذلك حيث تم عند غير",
        "pl": "w i na z się do nie to że o jest po za od jak dla ale przez przy co tym był są jego lub oraz może tak "
        "już tylko ich która który czy ze po",
        "sv": "och i att det som en på är av för med den till inte har de om ett han men var jag sig från vi så kan "
        "när "
        "man år hade vid nu också efter eller över sin bara",
        "tr": "ve bir bu da de için ile olarak çok daha olan gibi en var ne kadar sonra ya ise o mi her değil ama ki "
        "olduğu tarafından şey bunu",
        "id": "yang dan di dengan untuk pada dari ini dalam itu adalah tidak akan ke juga ada oleh atau sebagai bisa "
        "lebih telah karena saya kita mereka dia tersebut kami",
        "zh": "的 了 在 是 我 有 和 就 不 人 都 一 上 也 很 到 说 要 去 你 会 着 这 他 她 它 们 与 为 以 而 于 之",
        "ja": "の に は を た が で て と し れ さ る な い も す ま こ あ",
    }.items()
}

ENGLISH_ALONE: Final = frozenset(
    [
        *("the", "and", "that", "with", "from", "this", "which", "have", "been", "their", "would", "were", "you"),
        *("your", "they", "these", "when", "has"),
    ]
)
"""English function words that are none, or rare ones, in other languages of the Latin script."""
