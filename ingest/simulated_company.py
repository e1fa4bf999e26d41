"""The simulated company as it stands before its story begins: people, products, customers. All names are invented."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass, field

#: id, name, manager, win factor (against the company's average), activity factor.
TERRITORIES = (
    ("indonesia-west", "Indonesia West", "Ratna Wibisono", 1.06, 1.04),
    ("indonesia-east", "Indonesia East", "Yohanes Rumbiak", 0.72, 0.88),
    ("malay-peninsula", "Malay Peninsula", "Farah Aziz", 1.0, 1.0),
    ("mekong", "Mekong", "Tran Quoc Bao", 1.24, 1.08),
)
#: id, name, territory, manager.
TEAMS = (
    ("jakarta", "Jakarta", "indonesia-west", "Bagus Pranoto"),
    ("medan", "Medan", "indonesia-west", "Rosmawati Siregar"),
    ("surabaya", "Surabaya", "indonesia-east", "Lukas Tanaya"),
    ("makassar", "Makassar", "indonesia-east", "Andi Maharani"),
    ("kuala-lumpur", "Kuala Lumpur", "malay-peninsula", "Priya Raman"),
    ("singapore", "Singapore", "malay-peninsula", "Marcus Teo"),
    ("ho-chi-minh-city", "Ho Chi Minh City", "mekong", "Le Thanh Ha"),
    ("bangkok", "Bangkok", "mekong", "Somchai Rattanakorn"),
)
#: Five reps for each team, in the order of the teams.
REPS = (
    ("Ayu Lestari", "Dimas Hartono", "Nadia Kusuma", "Rizky Saputra", "Stefanie Gunawan"),
    ("Togar Simanjuntak", "Maya Nasution", "Irfan Lubis", "Grace Sitorus", "Wahyu Hidayat"),
    ("Dewi Anggraini", "Hendra Wijaya", "Putri Maharani", "Agus Setiawan", "Clara Soetanto"),
    ("Baso Daeng", "Fitri Ramadhani", "Yusuf Palinggi", "Marlin Tumbelaka", "Ningsih Aras"),
    ("Aisyah Rahman", "Daniel Lim", "Kavitha Nair", "Hafiz Osman", "Mei Ling Chong"),
    ("Wei Jie Tan", "Shalini Pillai", "Rachel Goh", "Imran Sheikh", "Claire D'Souza"),
    ("Nguyen Minh Anh", "Pham Duc Long", "Vo Thi Lan", "Hoang Gia Huy", "Dang Ngoc Mai"),
    ("Anong Srisai", "Kittisak Boonmee", "Ploy Wattana", "Narin Chaiyasit", "Emma Lindqvist"),
)
#: What each of a team's five reps is expected to carry, in the order of REPS.
SENIORITY = (1.4, 1.2, 1.0, 0.8, 0.6)
#: Who makes far less or far more of their chances than others.
SKILLS = {
    "rizky-saputra": 0.35,
    "yusuf-palinggi": 0.4,
    "hafiz-osman": 0.45,
    "hoang-gia-huy": 0.5,
    "ayu-lestari": 1.35,
    "kavitha-nair": 1.4,
    "anong-srisai": 1.3,
}
#: id, name, family, list price, unit cost, whether a win brings a contract, share of deals.
PRODUCTS = (
    ("harbor-core", "Harbor Core", "Subscription", 9600, 2100, True, 0.26),
    ("harbor-insight", "Harbor Insight", "Subscription", 4800, 900, True, 0.22),
    ("fleet-tracker", "Fleet Tracker", "Subscription", 6400, 1900, True, 0.17),
    ("dock-gateway", "Dock Gateway", "Hardware", 3900, 2250, False, 0.15),
    ("integration-pack", "Integration Pack", "Services", 7200, 4100, False, 0.12),
    ("yard-automation", "Yard Automation", "Hardware", 18500, 10900, False, 0.08),
)
#: Segment → endings of company names, share of accounts, size of its deals.
SEGMENTS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "Logistics": (("Logistics", "Freight", "Cargo", "Lines", "Forwarding"), 0.30, 1.1),
    "Manufacturing": (("Industries", "Works", "Components", "Textiles", "Plastics"), 0.25, 1.15),
    "Retail": (("Stores", "Trading", "Mart", "Home", "Fashion"), 0.20, 0.8),
    "Food": (("Foods", "Fisheries", "Plantations", "Beverages", "Mills"), 0.15, 0.85),
    "Public sector": (("Port Authority", "Water Board", "Transit", "Power Utility", "Health Service"), 0.10, 1.3),
}
CHANNELS = ("Website", "Events", "Partners", "Paid search", "Referral")
SOCIAL = ("LinkedIn", "Instagram", "YouTube", "TikTok")
STAGES = ("Prospecting", "Qualified", "Proposal", "Negotiation")

_ROOTS = (
    "Arunika Bintang Cempaka Damar Elang Flamboyan Garuda Hanuman Intan Jatayu Kencana Lontar Melati Nirwana Ombak "
    "Pelita Rajawali Samudra Teratai Wiratama Andaman Banyan Cenderawasih Dragonfruit Emerald Frangipani Golden Hibiscus "
    "Ironwood Jasmine Kapok Lantern Mangrove Nusa Orchid Pandan Quayside Rambutan Sampan Tamarind Usman Vanda Waringin "
    "Xuan Yellowfin Zamrud Anggrek Borneo Chakra Delima Enggang Fajar Gajah Harimau Indah Jalak Krakatau Lembayung Merapi"
)
_FIRST = (
    "Adi Amira Anh Arif Bella Binh Chai Citra Dara Desmond Eka Elena Faisal Gita Hana Hieu Indra Jasmine Joko Kamal Lina "
    "Linh Malik Mira Nam Nurul Oscar Phuong Qistina Rama Sari Somsak Tara Thanh Umar Vania Wira Yan Yuki Zahra"
)
_LAST = (
    "Abdullah Aguilar Bui Chandra Chua Darmawan Do Fernandez Gunadi Halim Hassan Huynh Ismail Jaafar Kaur Kurniawan Lam "
    "Lee Mahendra Mendoza Mulyani Ng Nguyen Ong Permata Pham Prasetyo Rajan Salleh Santoso Sihombing Suharto Sukhum Tan "
    "Thongchai Utama Vega Wong Yap Zulkifli"
)


@dataclass(slots=True)
class Rep:
    """Someone who sells. `skill` scales the chance to win, `weight` the work and the quota."""

    id: str
    name: str
    team: str
    weight: float
    skill: float
    hired: int  # day since 1970
    since: int  # from which day on in this team
    accounts: list[Account] = field(default_factory=list)
    deals: dict[str, Deal] = field(default_factory=dict)  # the open ones


@dataclass(slots=True)
class Account:
    """A company that may buy. `size` scales the amounts of its deals."""

    id: str
    name: str
    segment: str
    size: float
    owner: Rep
    customer: bool


@dataclass(slots=True)
class Deal:
    """A deal as it stands. `life` counts its openings: what was planned for an earlier one is void."""

    id: str
    account: Account
    product: int  # index into PRODUCTS
    owner: Rep
    cents: int
    stage: int  # index into STAGES
    created: int  # day since 1970
    close: int  # the expected close date, or the real one
    wins: bool  # how it will end
    life: int = 0
    deleted: bool = False
    returns_at: int | None = None  # when a deleted deal comes back, microseconds UTC


def slug(name: str) -> str:
    """A name as a record id: "Claire D'Souza" → "claire-d-souza"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


class Names:
    """Draws names, each one once."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used = {name for team in REPS for name in team}
        self.roots, self.first, self.last = _ROOTS.split(), _FIRST.split(), _LAST.split()

    def person(self) -> str:
        """A person's name; not unique."""
        return f"{self.rng.choice(self.first)} {self.rng.choice(self.last)}"

    def rep(self) -> str:
        """A rep's name, unique."""
        return self._unique([self.person() for _ in range(30)])

    def company(self, segment: str) -> str:
        """A company's name that suits its segment, unique."""
        endings = SEGMENTS[segment][0]
        return self._unique([f"{self.rng.choice(self.roots)} {self.rng.choice(endings)}" for _ in range(30)])

    def _unique(self, drawn: list[str]) -> str:
        # When all are taken the pool is as good as used up: a number keeps the name unique.
        name = next((name for name in drawn if name not in self.used), f"{drawn[0]} {len(self.used)}")
        self.used.add(name)
        return name


def first_reps(rng: random.Random, day: int) -> list[Rep]:
    """The forty reps that the story begins with on a day, all long settled."""
    found = []
    for (team, *_), names in zip(TEAMS, REPS, strict=True):
        for name, weight in zip(names, SENIORITY, strict=True):
            skill = SKILLS.get(slug(name), rng.uniform(0.9, 1.12))
            hired = day - rng.randrange(200, 1500)
            found.append(Rep(slug(name), name, team, weight, skill, hired, hired))
    return found


def new_account(rng: random.Random, names: Names, number: int, owner: Rep, customer: bool) -> Account:
    """An account of a random segment."""
    segment = rng.choices(list(SEGMENTS), [share for _, share, _ in SEGMENTS.values()])[0]
    size = SEGMENTS[segment][2] * rng.lognormvariate(0.0, 0.3)
    account = Account(f"acc-{number:04d}", names.company(segment), segment, size, owner, customer)
    owner.accounts.append(account)
    return account


def text_of_cents(cents: int) -> str:
    """1285050 → "12850.50"."""
    return f"{cents // 100}.{cents % 100:02d}"
