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
        "da": "og i at det er en til af på for den som de med der ikke et har han var fra kan jeg vi men blev sig "
        "også efter eller ud hun være skal nu",
        "no": "og i det er på som en til å av for at med de har den ikke han et fra om var jeg vi men ble seg også "
        "etter eller ut hun være skal bli",
        "fi": "ja on ei että se oli hän mutta kun myös ovat joka sen niin kuin tai mukaan jo vain ole olla siitä "
        "jos tämä mitä sekä hänen vielä",
        "is": "og að í á er sem til við um en var með fyrir af það hann ekki hún eru frá eða voru þess þar því þá ég "
        "hefur eftir",
        "fo": "og at í á er sum til við um hava ein eru ikki frá ella tað hann av fyri var teir men hevur eisini",
        "cs": "a se v na je že o s do z ve i k to za pro byl po jako od ale by si jeho které nebo podle jsou už která "
        "který při až",
        "sk": "a sa v na je že o s do z vo i k to za pre bol po ako od ale by si jeho ktoré alebo podľa sú už ktorá "
        "ktorý pri až",
        "sl": "in v je na se da za so z pa ki ne tudi po s bi od kot ali iz pri do še bil bila njegov lahko",
        "hr": "i u je na se da za su od s a koji kao o iz ne bi sa do što ili te koja nije biti bio također nakon",
        "ro": "și de în a la cu pe din o un este care nu se pentru mai că sunt au fost prin sau după ale lui ca dar "
        "această",
        "hu": "a az és hogy nem is egy volt ez meg csak de már mint még vagy el ha azt ki van sem lehet által után "
        "között",
        "lt": "ir į kad yra iš su buvo ne tai kaip o jis bet už apie nuo per prie dar tik jo dėl arba iki šio",
        "lv": "un ir no uz ar ka par kas tas bija ne arī kā pie vai viņš bet gan pēc līdz tika gada lai",
        "et": "ja on ei et see oli ka ta kui mis aga või kes tema selle ning oma mille pärast siis veel juba",
        "la": "et in est non ad ut cum qui quod ex sed de per ab quae si hoc sunt esse aut enim etiam atque autem",
        "ca": "de la i el que a en les els per un una amb no del és al com es ha més seu són va però també dels o",
        "gl": "de a o e que do da en un unha os as para con non é por no na máis como ao foi seu súa tamén pola dos",
        "eu": "eta da ez du zen bat ere dira izan baina dute zuen egin baino hau oso beste edo honen duen ziren",
        "af": "die en van in is het dit nie dat te met vir op n was sy hy aan ook wat om as word deur sal ek",
        "fy": "de en fan yn it is in net dat te mei foar op wie hy se oan ek dy om as wurdt troch sil ik",
        "lb": "an déi de vun den op ass mat fir am och dat net ze ginn eng gouf war bei als si huet ënner",
        "sq": "e të në dhe i një për me që nga është u se më ka nuk si por kjo ishte ai janë edhe pas",
        "tl": "ang ng sa na mga at ay si ni para kay hindi ito siya ko mo niya kung o nang may isang",
        "jv": "ing lan kang saka iku karo ana ora sing utawa dadi uga kanggo dening wong iki nalika marang",
        "sw": "na ya wa kwa ni katika za la kuwa cha au hii watu huo yake hiyo sana wake kama bila lakini",
        "so": "iyo ka ku oo u in la waa ay ee uu ah soo waxaa aan wuxuu ayaa lagu inuu",
        "ha": "da a na ta ya shi cikin ne ce wanda don ba kuma daga sun ko an su wannan",
        "vi": "và của là có không được các trong cho một người với những này đã đến khi để từ về như ở tại",
        "az": "və bu bir ilə üçün də olan da ki o edir idi olaraq sonra daha var ən nə kimi",
        "uz": "va bu bilan uchun ham bir edi esa bo‘lgan o‘z deb kerak bo‘lib emas lekin",
        "tk": "we bu bir bilen üçin hem diýen onuň bolan boldy ýaly şol olar soň",
        "ku": "û di de ku ji li bi ew jî bo her ne ya yê yên bû wê nav dike",
        "cy": "y yn a i o ar yr oedd mae am gan wedi fel eu hyn bod ei ac at neu",
        "ga": "an agus na i ar a is le do go ag sé bhí de ó atá ní seo mar",
        "gd": "an agus na air a is le do gu aig e bha de tha cha seo mar ann gun",
        "br": "ar an ha a e en da er gant un eo ur hag evit gwelout war met eus",
        "mt": "li ta il u ma fil tal mill huwa kien għal ghal minn kienet jew dan hija",
        "eo": "la de kaj en al estas ne por kun kiu mi li ke sed ankaŭ el pri estis aŭ",
        "mg": "ny sy dia ao ary tamin ho fa izy amin tsy no an izay ka",
    }.items()
}

ENGLISH_ALONE: Final = frozenset(
    [
        *("the", "and", "that", "with", "from", "this", "which", "have", "been", "their", "would", "were", "you"),
        *("your", "they", "these", "when", "has"),
    ]
)
"""English function words that are none, or rare ones, in other languages of the Latin script."""

MARKERS: Final[dict[str, dict[str, frozenset[str]]]] = {
    script: {code: frozenset(words.split()) for code, words in languages.items()}
    for script, languages in {
        "Devanagari": {
            "hi": "है हैं था थे थी थीं और नहीं यह वह ये वे इस उस इन उन इसे उन्हें उसके इसके हुए हुआ हुई गया गई गए करता करते "
            "करती करना लिए ने में पर किया जाता जाती होता होती कर रहा रहे रही",
            "mr": "आहे आहेत आणि व ते ती होते होता होती नाही नाहीत हे ही हा या त्या त्याने त्यांना त्यांनी त्यांच्या मध्ये असे "
            "असून केले केली झाले झाली झाला येथे तसेच पण किंवा काही म्हणून साठी",
            "ne": "छ छन् छन हुन् हुन्छ थियो थिए भएको गर्न गर्नु गरेको पनि यो त्यो र छैन गर्ने भन्ने तथा हो भने लागि बाट "
            "उनी उनले सबै यस रहेको पर्छ हुने नेपाल",
            "sa": "च अस्ति सन्ति इति भवति तु एव अपि वा यत् तत् सः तस्य अस्य आसीत् स्म किन्तु यथा तथैव",
            "mai": "अछि अछ छथि छल छलाह छै आ केँ सँ ओ हुनक एहि ओहि नहि जे भेल",
            "bho": "बा बाड़े बाड़ी बानी बाटे हवे रहे रहल भइल के के: आ एगो ओकर हमनी रउआ ना खातिर",
            "gom": "आनी आसा आसात आसले म्हाका ताका तुका हांव तांचे तांणी खंय म्हणून जाता जातात न्हय",
        },
    }.items()
}
"""Words by which the languages of one script are told apart, where n-grams cannot; a few are shared by two of them."""

MARKER_ENDINGS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Devanagari": {
        "mr": ("च्या", "मध्ये", "ांना", "ांनी", "ातील", "ासाठी", "ाचे", "ाची", "ाचा", "ण्यात", "ण्यास", "ल्या"),
        "ne": ("हरू", "हरु", "हरूको", "हरूले", "लाई", "को", "बाट", "एको", "न्छ", "िन्छ"),
    },
}
"""Endings of words that count like words of :data:`MARKERS`."""

MARKER_LETTERS: Final[dict[str, dict[str, str]]] = {
    "Bengali": {"as": "ৰৱ", "bn": "র"},
    "Arabic": {"ckb": "ێڕڵ"},
    "Ethiopic": {"ti": "ኣቐቑቒቓቔቕቖኸኹኺኻኼኽኾ", "am": "አሽ"},
    "Hebrew": {"yi": "ײװױ"},
}
"""Letters that one language of a script has and its neighbours have not, or hardly."""
