"""How well a model answers: perplexity of a text and multiple choice, over any llama.cpp server.

The server tells the probability of tokens that it generates, not of those in a prompt. So it is
made to generate the text (teacher forcing), one token per request with the tokens before it cached:
a bias lets only the wanted token be drawn, while the probability told of it is that before any
bias, over the whole vocabulary. Exact, at the speed of decoding, and the same for each quantisation
of a model. Source: llama.cpp, tools/server/README.md (`logit_bias`, `n_probs`,
`post_sampling_probs` of `/completion`).
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from bench_melt.record import Quality
from bench_melt.workloads.llm.client import Client
from codegen.tables import Table, read_table
from tinyengine.errors import DeviceError

# a window of the text is so many tokens, of which the first are given and not scored; they overlap
# by those, so that every later token of the text is scored once, with at least so many before it
WINDOW = 512
GIVEN = 64
CONTEXT_MIN = WINDOW + 8  # what a server must hold: a window, and room for a start token
_DATA = Path(__file__).with_name("quality_data")
_NAME = "bench-melt-1"
_BIAS = 10_000.0  # added to a logit: far above all others, which are below some hundreds
# the server computes in 32 bits: a probability below the smallest of them comes as zero
_FLOOR = math.log(2.0**-149)


class Question(Table):
    """One question with its options; `answer` counts from 0."""

    text: str
    options: tuple[str, ...] = Field(min_length=2)
    answer: int = Field(ge=0)

    @model_validator(mode="after")
    def _answered(self) -> Self:
        if self.answer >= len(self.options):
            raise ValueError(f"question '{self.text}' has no option {self.answer}")
        return self


class QuestionFile(Table):
    """The file of questions."""

    questions: tuple[Question, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Exam:
    """What is asked: a text to predict, and questions. name: with the hash of both."""

    name: str
    text: str
    questions: tuple[Question, ...]


def shipped_exam() -> Exam:
    """Return the text and the questions that ship."""
    files = [_DATA / "text.txt", _DATA / "questions.toml"]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    return Exam(
        name=f"{_NAME} {digest[:12]}",
        text=files[0].read_text(encoding="utf-8"),
        questions=read_table(files[1], QuestionFile, "question file").questions,
    )


def examine(client: Client, exam: Exam) -> Quality:
    """Return perplexity and accuracy.

    Perplexity is exp of the mean negative log-probability per scored token. A question is answered
    with the option that has the highest log-probability per byte of its text after
    "Question: ...\\nAnswer:" (per byte: long options are not at a disadvantage, and tokenizers are
    comparable).

    Raises:
        DeviceError: the server gives no such probabilities, or fails.
    """
    teller = _Teller(client)
    scores = list(_windows(teller, exam.text))
    right = sum(_answer(teller, question) == question.answer for question in exam.questions)
    return Quality(
        perplexity=math.exp(-sum(scores) / len(scores)),
        perplexity_tokens=len(scores),
        choice_accuracy=right / len(exam.questions),
        choice_questions=len(exam.questions),
        quality_text=exam.name,
    )


class _Teller:
    """Tells log-probabilities of tokens."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.start = self._start()

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens; `special`: with what the model wants before (and after) it."""
        body = {"content": text, "add_special": special}
        found = self._client.post("/tokenize", body).get("tokens")
        if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
            raise DeviceError(f"server {self._client.base}: no list of tokens from '/tokenize'")
        return found

    def log_probabilities(self, context: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the natural log-probability of each of `tokens`, each after all before it."""
        before, found = [*self.start, *context], []
        for token in tokens:
            found.append(max(self._log_probability(before, token), _FLOOR))
            before.append(token)
        return found

    def _log_probability(self, before: Sequence[int], token: int) -> float:
        body = {
            "prompt": before,
            "n_predict": 1,
            "logit_bias": [[token, _BIAS]],
            "n_probs": 1,
            "temperature": 0.0,
            "cache_prompt": True,
            "id_slot": 0,
        }
        told = self._client.post("/completion", body).get("completion_probabilities")
        try:
            one = told[0] if told else {}
            drawn, value = int(one["id"]), float(one["logprob"])
        except (KeyError, TypeError, ValueError):
            drawn, value = -1, math.nan
        if drawn != token or math.isnan(value):
            raise DeviceError(
                f"server {self._client.base} tells no probability of a given token (wanted token "
                f"{token}, got {str(told)[:80]}): 'quality' needs llama.cpp's server, of 2025 or "
                "newer, and a model whose tokens of plain English are whole characters"
            )
        return value

    def _start(self) -> list[int]:
        """Return what the model wants before every text: its start token, or nothing."""
        plain, whole = self.tokens("a"), self.tokens("a", special=True)
        for at in range(len(whole)):
            if whole[at : at + len(plain)] == plain:
                return whole[:at]
        return []


def _windows(teller: _Teller, text: str) -> Iterator[float]:
    """Yield the log-probability of every token of the text but the first GIVEN."""
    tokens = teller.tokens(text)
    if len(tokens) <= GIVEN:
        raise DeviceError(f"the text is {len(tokens)} tokens for this model, too few to score")
    for at in range(0, len(tokens) - GIVEN, WINDOW - GIVEN):
        window = tokens[at : at + WINDOW]
        yield from teller.log_probabilities(window[:GIVEN], window[GIVEN:])


def _answer(teller: _Teller, question: Question) -> int:
    """Return the option that the model finds likeliest."""
    prompt = f"Question: {question.text}\nAnswer:"
    before = teller.tokens(prompt)
    scores = []
    for option in question.options:
        whole = teller.tokens(f"{prompt} {option}")
        # a tokenizer may join the end of the prompt with what follows
        common = next(
            (at for at, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b),
            min(len(before), len(whole) - 1),
        )
        told = teller.log_probabilities(whole[:common], whole[common:])
        scores.append(sum(told) / len(option.encode()))
    return scores.index(max(scores))
