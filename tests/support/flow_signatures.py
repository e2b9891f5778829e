"""Flows of many kinds, for comparing static reading with what Prefect finds by importing.

Each case is a module of its own. `STATIC` signatures must be readable from the text, `IMPORTED`
ones must not, because only an import decides them. `prefect_2_differs` says why the schema of 2.20
is different from that of 3.x.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

HEAD = '''\
"""A module."""
import collections.abc
import datetime
import enum
import typing
import typing as t
from datetime import date, time, timedelta, timezone
from datetime import datetime as moment
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import (
    Annotated, Any, Callable, Dict, FrozenSet, Iterable, List, Literal, Mapping, NewType, Optional,
    Sequence, Set, Tuple, Union,
)
from uuid import UUID

from prefect import flow
from pydantic import BaseModel, Field, SecretStr

class Color(Enum):
    """What it looks like.

    More of it.
    """
    RED = "red"
    BLUE = "blue"

class Level(IntEnum):
    LOW = 1
    HIGH = 2

class Size(str, Enum):
    S = "small"
    L = "large"

    def __str__(self):
        return self.value

class Mixed(Enum):
    ONE = 1
    TWO = "two"
    UNO = 1

class Auto(Enum):
    A = enum.auto()
    B = enum.auto()

class Name(enum.StrEnum):
    FIRST = enum.auto()
    SECOND = "2nd"

class Share(Enum):
    HALF = 0.5

class Plain:
    pass

class Model(BaseModel):
    x: int = 1

UserId = NewType("UserId", int)
Number = Union[int, float]
Alias: typing.TypeAlias = "int"
LIMIT = 60 * 60
NAME = "etl"
TITLE = f"{NAME}-{LIMIT}"
ITEMS = [1, 2]
PAIR = (1, 2)
SINCE = date(2024, 2, 29)
if LIMIT:
    MAYBE = 1
'''
NO_METHODS = "its entrypoints don't support methods"


@dataclass(frozen=True)
class Case:
    """A module, the path of a flow in it, and whether it can be read statically."""

    name: str
    source: str
    static: bool
    path: str = "f"
    prefect_2_differs: str = ""


def _signatures(static: bool, text: str) -> list[Case]:
    return [
        Case(line, f"{HEAD}\n@flow\ndef f({line}): ...\n", static)
        for line in dedent(text).strip().splitlines()
    ]


def _module(name: str, source: str, *, static: bool = True, path: str = "f", two: str = "") -> Case:
    return Case(name, HEAD + dedent(source), static, path, two)


STATIC = """
a
a, b=1
a: int
a: float
a: str
a: bool
a: bytes
a: None
a: object
a: Any
a: typing.Any
a: list
a: dict
a: tuple
a: set
a: frozenset
a: List
a: Dict
a: Tuple
a: Sequence
a: list[int]
a: List[str]
a: t.List[t.Any]
a: list[list[int]]
a: dict[str, int]
a: dict[str, Any]
a: dict[int, str]
a: dict[str, object]
a: dict[date, int]
a: dict[UUID, list[int]]
a: dict[Literal['a', 'b'], int]
a: Dict[str, List[Optional[int]]]
a: Mapping[str, int]
a: collections.abc.Mapping[str, int]
a: collections.abc.Sequence[int]
a: collections.abc.Set[int]
a: Iterable[int]
a: tuple[int, str]
a: tuple[int, ...]
a: tuple[()]
a: Tuple[int]
a: set[int]
a: Set[int]
a: FrozenSet[str]
a: Optional[int]
a: Optional[int] = None
a: int | None
a: int | None = None
a: None | int
a: int | str | None = 3
a: Union[int, str]
a: Union[int, None, str]
a: Union[int, int]
a: Union[Optional[int], str]
a: Optional[Any]
a: Optional[list[int]] = None
a: bool | int | float | str
a: Literal['a']
a: Literal['a', 'b'] = 'b'
a: Literal[1, 2]
a: Literal['a', 1]
a: Literal[True, False]
a: Literal['a', None] = None
a: Literal[-1]
a: Literal['a', 'a']
a: Literal[1, True]
a: Optional[Literal['a', 'b']] = None
a: Union[Literal['a'], Literal['b']]
a: Color
a: Color = Color.RED
a: Color, b: Optional[Color] = None, c: Level = Level.LOW
a: Level
a: Size = Size.L
a: Mixed
a: Auto = Auto.B
a: Name = Name.FIRST
a: Share
a: list[Color] = [Color.RED]
a: dict[str, Color] = {'x': Color.RED}
a: str = Color.RED.value
a: datetime.datetime
a: moment
a: date
a: time
a: timedelta
a: timedelta = timedelta(hours=1)
a: timedelta = timedelta(days=800, minutes=90, milliseconds=1500)
a: timedelta = timedelta(seconds=-5)
a: timedelta = -timedelta(weeks=1)
a: timedelta = timedelta()
a: moment = moment(2020, 1, 2, 3, 4, 5, 6)
a: moment = moment(2020, 1, 2, tzinfo=timezone.utc)
a: date = date(2020, 1, 2)
a: date = datetime.date(2020, 1, 2)
a: time = time(3, 4)
a: Decimal
a: Decimal = Decimal('1.50')
a: Optional[Decimal] = None
a: UUID = UUID('12345678123456781234567812345678')
a: Path
a: Path = Path('x//y')
a: Path = Path('data', 'in')
a: Path = 'x/y'
a: SecretStr
a: SecretStr = SecretStr('hidden')
a: SecretStr = SecretStr('')
a: Optional[SecretStr] = None
a: bytes = b'abc'
a: UserId
a: Number = 1.5
a: Optional[Number] = None
a: Annotated[int, 'a note']
a=-1
a=+1.5
a=True
a=None
a='text'
a=''
a='ünïcödé'
a=1e20
a=10_000
a=[]
a=[1, 'b', None, [2.5]]
a=()
a=(1, 2)
a={}
a={'a': {'b': [1]}}
a={1: 2}
a={1}
a=set()
a=frozenset()
a=b'x'
a=...
a: int = ...
a: int = 'wrong'
a: int = None
a: float = 1
a: list[int] = None
a: list[int] = (1, 2)
a: Any = (1,)
a=Color.RED
a=[Path('x'), date(2020, 1, 2)]
a=LIMIT
a=TITLE
a=PAIR
a=SINCE
a=60 * 60 * 24
a=LIMIT / 2
a='a' + NAME
a=f'{NAME}/{LIMIT}'
a=dict()
*args
**kwargs
*args: int, **kwargs: str
a, *args, b=1, **kwargs
a, /, b, *, c
a, /, b=1, *, c=2, d
json, copy, fields, dict, schema: int = 1
name, type='x', title=3, required=True, definitions=None
a=ITEMS
a={1, 2}
a=10 ** 3
a='%s' % NAME
a=f'{LIMIT:>5}'
a=f'{NAME!r}'
a=str(1)
a=Color['RED']
a=Color.RED.name
a: 'int'
a: 'Optional[Color]' = None
"""

IMPORTED = """
a: Model
a: list[Model]
a: Optional[Model] = None
a: Model = Model(x=2)
a: Plain
a: Callable
a: Callable[[int], str]
a: type
a: complex
a: dict[Color, int]
a: list['int']
a: Optional['Color'] = None
a: Alias
a: 'Undefined'
a: Annotated[int, Field(ge=1)] = 3
a: Literal[Color.RED]
a: collections.abc.Collection[int]
a=MAYBE
a=len
a=int
a=Plain()
a={None: 1}
a=[i for i in range(3)]
a=Path.home().name
a=date.min
a=SecretStr('hidden').get_secret_value()
a=1j
"""

DOCSTRING = '''
@flow
def f(a, b: int = 1, c=None, *args, **kwargs):
    """What it does.

    Some text: with a colon.

    Args:
        a: The first.
        b (int, optional): The second,
            over two lines
              and a third.

            After an empty line.
        c:
        *args: Not found under this name.
        unknown: Not a parameter.
    Returns:
        Nothing: at all.
    """
'''

ODD_DOCSTRING = '''
@flow
def f(a, b, c, d):
    """
    Arguments: of all kinds

      a  : One.
      b: Two

    Note:
        ```
        Args:
            c: Not this.
        ```

    Params:
     c: Three.
     d : Four
       further in
      in between
    Parameters:
        d: No empty line above.
    """
'''

MODULES = [
    _module(
        "choices with a Decimal",
        "@flow\ndef f(a: Union[int, Decimal, str]): ...\n",
        two="the pattern of its Decimal keeps two choices apart that are one here",
    ),
    _module("plain decorator with call", "@flow()\ndef f(a): ...\n"),
    _module("underscores", "@flow\ndef my_long_name(a): ...\n", path="my_long_name"),
    _module(
        "all constants",
        '''
        @flow(name="My flow", version="1.2", description="Of its own", retries=3, log_prints=True)
        def f(a):
            """Not this."""
        ''',
    ),
    _module("constants by name", "@flow(name=TITLE, version=f'v{LIMIT}')\ndef f(a): ...\n"),
    _module("empty options", "@flow(name='', version=None, description=None)\ndef f(a): ...\n"),
    _module("docstring", DOCSTRING),
    _module("odd docstring", ODD_DOCSTRING),
    _module(
        "two sections",
        '@flow\ndef f(a):\n    """x\n\n    Args:\n        a: 1\n\n    Args:\n        a: 2"""\n',
    ),
    _module("no blank line", '@flow\ndef f(a):\n    """x\n    Args:\n        a: 1\n    """\n'),
    _module(
        "blank line below", '@flow\ndef f(a):\n    """x\n\n    Args:\n\n        a: 1\n    """\n'
    ),
    _module(
        "fence",
        '@flow\ndef f(a):\n    """x\n\n    ```\n\n    Args:\n        a: 1\n    ```\n    """\n',
    ),
    _module("empty docstring", '@flow\ndef f(a):\n    """"""\n'),
    _module("not a docstring", "@flow\ndef f(a):\n    f'{a}'\n"),
    _module("async", "@flow\nasync def f(a: int): ...\n"),
    _module("generator", "@flow\ndef f(a: int):\n    yield a\n"),
    _module("assigned", "def g(a: int): ...\n\nf = flow(g)\n"),
    _module("assigned with options", "def g(a: int): ...\n\nf = flow(name='x')(g)\n"),
    _module("alias of the decorator", "from prefect import flow as fl\n\n@fl\ndef f(a): ...\n"),
    _module(
        "module of the decorator", "import prefect\n\n@prefect.flow(name='x')\ndef f(a): ...\n"
    ),
    _module("alias of the module", "import prefect as p\n\n@p.flow\ndef f(a): ...\n"),
    _module("from its own module", "from prefect.flows import flow as g\n\n@g\ndef f(a): ...\n"),
    _module("same import twice", "from prefect import flow\n\n@flow\ndef f(a): ...\n"),
    _module("result type", "@flow\ndef f(a: int) -> 'dict[str, Color] | None': ...\n"),
    _module("main guard", "@flow\ndef f(a): ...\n\nif __name__ == '__main__':\n    f = f(1)\n"),
    _module(
        "static method",
        "class C:\n    @staticmethod\n    @flow\n    def m(a: int): 'Doc'\n",
        path="C.m",
        two=NO_METHODS,
    ),
    _module(
        "static method inside",
        "class C:\n    @flow(name='x')\n    @staticmethod\n    def m(a: int): ...\n",
        path="C.m",
        two=NO_METHODS,
    ),
    _module(
        "class method inside",
        "class C:\n    @flow\n    @classmethod\n    def m(cls, a: int): ...\n",
        path="C.m",
        two=NO_METHODS,
    ),
    _module(
        "method",
        "class C(Plain):\n    @flow\n    def m(self, a: int): ...\n",
        path="C.m",
        two=NO_METHODS,
    ),
    _module("broken result type", "@flow\ndef f(a: 'int') -> 'Undefined': ...\n", static=False),
    _module(
        "other decorator",
        """
        import functools
        def other(fn):
            @functools.wraps(fn)
            def wrapper(*args): ...
            return wrapper

        @flow
        @other
        def f(a: int): ...
        """,
    ),
    _module("options as a mapping", "o = {}\n@flow(**o)\ndef f(a): ...\n", static=False),
    _module("computed name", "@flow(name=NAME.upper())\ndef f(a): ...\n"),
    _module("with options", "@flow\ndef g(a): ...\nf = g.with_options(name='x')\n", static=False),
    _module("defined twice", "@flow\ndef f(a): ...\n@flow\ndef f(b): ...\n", static=False),
    _module("builtin with another meaning", "int = str\n@flow\ndef f(a: int): ...\n"),
    _module(
        "shadowed import",
        "from typing import Tuple as List\n@flow\ndef f(a: List[int]): ...\n",
        static=False,
    ),
    _module(
        "other meaning in the class",
        "class C:\n    list = int\n    @flow\n    def m(self, a: list): ...\n",
        static=False,
        path="C.m",
        two=NO_METHODS,
    ),
    _module(
        "inherited",
        "class B:\n    @flow\n    def m(self, a: int): ...\nclass C(B): ...\n",
        static=False,
        path="C.m",
        two=NO_METHODS,
    ),
    _module("under a condition", "if LIMIT:\n    @flow\n    def f(a): ...\n", static=False),
    _module("star import", "from os.path import *\n@flow\ndef f(a: int): ...\n", static=False),
    _module(
        "global", "def change():\n    global Color\n@flow\ndef f(a: Color): ...\n", static=False
    ),
    _module("walrus", "print(Color := Level)\n@flow\ndef f(a: Color): ...\n", static=False),
    _module(
        "enum with a metaclass trick",
        """
        class Odd(Enum):
            A = (1, 2)
            def __init__(self, x, y): ...

        @flow
        def f(a: Odd): ...
        """,
        static=False,
    ),
    _module(
        "dataclass",
        """
        import dataclasses
        @dataclasses.dataclass
        class D:
            x: int = 1

        @flow
        def f(a: D): ...
        """,
        static=False,
    ),
]

FUTURE = [
    Case(
        f"future: {case.name}",
        "from __future__ import annotations\n" + case.source,
        case.static,
        case.path,
        case.prefect_2_differs,
    )
    for case in [
        *_signatures(True, "a: int | None = None\na: Color = Color.RED, b: list[Path] = []"),
        *_signatures(False, "a: 'int'\na: Model\na: int, b: Undefined = 1"),
        _module("result", "@flow\ndef f(a: int) -> dict[str, list[Color]]: ...\n"),
        _module(
            "type checking only",
            """
            if typing.TYPE_CHECKING:
                import pandas as pd

            @flow
            def f(a: int) -> pd.DataFrame: ...
            """,
            static=False,
        ),
        _module("later", "@flow\ndef f(a: Late): ...\nclass Late(Enum): A = 1\n", static=False),
    ]
]  # fmt: skip

CASES = [*_signatures(True, STATIC), *_signatures(False, IMPORTED), *MODULES, *FUTURE]
