"""What the official client of OpenAI's API makes of the sandbox: answers, faults, and what the sandbox says was asked.

HEDDLE_SANDBOX names the sandbox. Each test has a credential of its own, and so a script and calls of its own.
"""

import json
import os
import time
import unittest
import urllib.error
import urllib.request
from enum import Enum
from typing import Literal, Optional, Union
from unittest import mock

import openai
from pydantic import BaseModel, Field

SANDBOX = os.environ["HEDDLE_SANDBOX"]
QUESTION = [{"role": "user", "content": "high tide"}]
ANSWER = "Sandbox answer about: high tide"
# Longer than any test waits.
NEVER_MS = 600_000


class Port(BaseModel):
    name: str = Field(min_length=30)
    depth: Optional[float] = Field(ge=2)


class Kind(Enum):
    SPRING = "spring"
    NEAP = "neap"


class Tides(BaseModel):
    kind: Kind
    heights: list[int] = Field(min_length=2)
    port: Port
    others: list[Port]
    source: Union[Port, None]
    unit: Literal["m"]


LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks at a place.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


def sandbox(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{SANDBOX}{path}", data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as response:
        text = response.read()
    return json.loads(text) if text else None


class Case(unittest.TestCase):
    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1]
        self.waited = []
        # A client that waits says how long; nothing here has to.
        waiting = mock.patch.object(time, "sleep", self.waited.append)
        waiting.start()
        self.addCleanup(waiting.stop)

    def client(self, **options):
        options = {"max_retries": 0, "timeout": 30, **options}
        client = openai.OpenAI(base_url=f"{SANDBOX}/v1", api_key=f"sandbox:{self.name}", **options)
        self.addCleanup(client.close)
        return client

    def script(self, *steps):
        sandbox("PUT", f"/script/{self.name}", {"steps": steps})

    def calls(self):
        return [call for call in sandbox("GET", "/ledger")["calls"] if call["credential"] == self.name]

    def statuses(self):
        return [call.get("status") for call in self.calls()]

    def ask(self, client=None, **more):
        client = client or self.client()
        return client.chat.completions.create(model="m", messages=QUESTION, **more)


class Answers(Case):
    def test_whole(self):
        answer = self.ask(temperature=0, seed=7)
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, "m")
        self.assertEqual(answer.choices[0].message.content, ANSWER)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        usage = answer.usage
        self.assertGreater(usage.prompt_tokens, 0)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        [call] = self.calls()
        self.assertEqual((call["call"], call["model"], call["status"]), ("POST /v1/chat/completions", "m", 200))
        self.assertEqual(call["request"], {"model": "m", "messages": QUESTION, "temperature": 0, "seed": 7})

    def test_raw(self):
        raw = self.client().chat.completions.with_raw_response.create(model="m", messages=QUESTION)
        self.assertEqual(raw.headers["content-type"], "application/json")
        self.assertEqual(raw.parse().choices[0].message.content, ANSWER)

    def test_stream(self):
        whole = self.ask()
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        self.assertEqual("".join(word for word in words if word), ANSWER)
        self.assertGreater(len([word for word in words if word]), 3)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1], "stop")
        self.assertEqual(chunks[-1].usage, whole.usage)
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        self.assertTrue(self.calls()[1]["request"]["stream"])

    def test_stream_helper(self):
        with self.client().chat.completions.stream(model="m", messages=QUESTION) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion()
        self.assertGreater(kinds.count("content.delta"), 3)
        self.assertEqual(kinds.count("content.done"), 1)
        self.assertEqual(final.choices[0].message.content, ANSWER)

    def test_json_of_a_model(self):
        client = self.client()
        parsed = client.chat.completions.parse(model="m", messages=QUESTION, response_format=Tides)
        tides = parsed.choices[0].message.parsed
        self.assertIsInstance(tides, Tides)
        self.assertGreaterEqual(len(tides.heights), 2)
        with client.chat.completions.stream(model="m", messages=QUESTION, response_format=Tides) as stream:
            self.assertEqual(stream.get_final_completion().choices[0].message.parsed, tides)
        asked = self.calls()[0]["request"]["response_format"]["json_schema"]
        self.assertTrue(asked["strict"])
        self.assertIn("$defs", asked["schema"])

    def test_json_object(self):
        answer = self.ask(response_format={"type": "json_object"})
        self.assertEqual(json.loads(answer.choices[0].message.content)["about"], "high tide")

    def test_tools(self):
        client = self.client()
        answer = self.ask(client, tools=[LOOK], tool_choice="required")
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        message = answer.choices[0].message
        self.assertIsNone(message.content)
        [call] = message.tool_calls
        self.assertEqual(call.function.name, "look")
        self.assertEqual(set(json.loads(call.function.arguments)), {"at"})
        result = {"role": "tool", "tool_call_id": call.id, "content": "nothing to see"}
        messages = [*QUESTION, message, result]
        after = client.chat.completions.create(model="m", messages=messages, tools=[LOOK])
        self.assertIn("nothing to see", after.choices[0].message.content)
        self.assertEqual(self.calls()[1]["request"]["messages"][1]["tool_calls"][0]["id"], call.id)

    def test_tools_in_a_stream(self):
        chosen = {"type": "function", "function": {"name": "look"}}
        with self.client().chat.completions.stream(
            model="m", messages=QUESTION, tools=[LOOK], tool_choice=chosen
        ) as stream:
            final = stream.get_final_completion()
        [call] = final.choices[0].message.tool_calls
        self.assertEqual((call.function.name, final.choices[0].finish_reason), ("look", "tool_calls"))
        self.assertEqual(set(json.loads(call.function.arguments)), {"at"})

    def test_finish_reasons(self):
        self.script({"finishReason": "length"}, {"finishReason": "content_filter"})
        reasons = [self.ask().choices[0].finish_reason for _ in range(2)]
        self.assertEqual(reasons, ["length", "content_filter"])

    def test_embeddings(self):
        client = self.client()
        # The client asks for base64 unless it is told otherwise, and reads it itself.
        read = client.embeddings.create(model="m", input=["a", "b"], dimensions=40)
        plain = client.embeddings.create(model="m", input=["a", "b"], dimensions=40, encoding_format="float")
        self.assertEqual(len(read.data), 2)
        for one, other in zip(read.data, plain.data):
            self.assertEqual((len(one.embedding), one.index), (40, other.index))
            for number, exact in zip(one.embedding, other.embedding):
                self.assertAlmostEqual(number, exact, places=6)
        self.assertEqual([call["request"]["encoding_format"] for call in self.calls()], ["base64", "float"])

    def test_models(self):
        client = self.client()
        self.assertEqual([model.id for model in client.models.list()], ["sandbox-model"])
        self.assertEqual(client.models.retrieve("sandbox-model").owned_by, "sandbox")
        with self.assertRaises(openai.NotFoundError) as caught:
            client.models.retrieve("elsewhere")
        self.assertEqual(caught.exception.code, "model_not_found")


class Faults(Case):
    def test_statuses(self):
        statuses = {
            400: openai.BadRequestError,
            401: openai.AuthenticationError,
            403: openai.PermissionDeniedError,
            404: openai.NotFoundError,
            422: openai.UnprocessableEntityError,
            500: openai.InternalServerError,
        }
        self.script(*({"status": status} for status in statuses))
        for status, kind in statuses.items():
            with self.assertRaises(kind) as caught:
                self.ask()
            self.assertEqual(caught.exception.status_code, status)
            self.assertEqual(caught.exception.code, "sandbox_fault")
        self.assertEqual(self.statuses(), list(statuses))

    def test_body_of_the_script(self):
        body = {"error": {"message": "no credit", "type": "insufficient_quota", "code": "insufficient_quota"}}
        self.script({"status": 429, "body": body})
        with self.assertRaises(openai.RateLimitError) as caught:
            self.ask()
        self.assertEqual((caught.exception.code, caught.exception.type), ("insufficient_quota",) * 2)

    def test_a_request_without_messages(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client().chat.completions.create(model="m", messages=[])
        self.assertEqual(caught.exception.type, "invalid_request_error")
        self.assertEqual(self.statuses(), [400])

    def test_a_route_that_is_not_there(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client().images.generate(prompt="a harbour", model="m")
        self.assertEqual(caught.exception.code, "unknown_url")
        self.assertEqual([call["call"] for call in self.calls()], ["POST /v1/images/generations"])

    def test_rate_limit(self):
        self.script({"status": 429, "retryAfterMs": 1_500}, {"status": 429, "retryAfterMs": 250})
        answer = self.ask(self.client(max_retries=2), extra_headers={"Idempotency-Key": "k"})
        self.assertEqual(answer.choices[0].message.content, ANSWER)
        self.assertEqual(self.waited, [1.5, 0.25])
        self.assertEqual(self.statuses(), [429, 429, 200])
        self.assertEqual({call["idempotencyKey"] for call in self.calls()}, {"k"})
        requests = [call["request"] for call in self.calls()]
        self.assertEqual(requests[0], requests[2])

    def test_rate_limit_that_stays(self):
        self.script(*[{"status": 429, "retryAfterMs": 2_000}] * 3)
        with self.assertRaises(openai.RateLimitError) as caught:
            self.ask(self.client(max_retries=2))
        self.assertEqual(caught.exception.response.headers["retry-after"], "2")
        self.assertEqual((self.waited, self.statuses()), ([2.0, 2.0], [429, 429, 429]))

    def test_an_answer_that_breaks_off(self):
        self.script({"truncate": True}, {"truncate": True})
        with self.assertRaises(openai.APIConnectionError):
            self.ask()
        self.assertEqual(self.ask(self.client(max_retries=1)).choices[0].message.content, ANSWER)
        self.assertEqual(self.statuses(), [200, 200, 200])

    def test_a_stream_that_breaks_off(self):
        self.script({"truncate": True})
        words = []
        with self.assertRaises(openai.APIConnectionError):
            for chunk in self.ask(stream=True):
                words.append(chunk.choices[0].delta.content or "")
        said = "".join(words)
        self.assertTrue(said and ANSWER.startswith(said) and said != ANSWER, said)

    def test_an_answer_that_does_not_come(self):
        self.script({"delayMs": NEVER_MS})
        with self.assertRaises(openai.APITimeoutError):
            self.ask(self.client(timeout=1))
        # It came, and whoever asked went away before it was answered.
        [call] = self.calls()
        self.assertEqual((call["call"], call["request"]["model"]), ("POST /v1/chat/completions", "m"))
        self.assertNotIn("status", call)

    def test_a_stream_that_is_silent(self):
        self.script({"pieceDelayMs": NEVER_MS})
        with self.assertRaises(openai.APITimeoutError):
            list(self.ask(self.client(timeout=1), stream=True))

    def test_a_slow_answer_and_a_slow_stream(self):
        self.script({"delayMs": 300}, {"pieceDelayMs": 50})
        self.assertEqual(self.ask().choices[0].message.content, ANSWER)
        chunks = self.ask(stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        self.assertEqual(said, ANSWER)


class Together(unittest.IsolatedAsyncioTestCase):
    async def test_many_streams_at_once(self):
        import asyncio

        async def said(client, number):
            messages = [{"role": "user", "content": f"tide {number}"}]
            chunks = await client.chat.completions.create(model="m", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

        async with openai.AsyncOpenAI(base_url=f"{SANDBOX}/v1", api_key="sandbox:many", max_retries=0) as client:
            answers = await asyncio.gather(*(said(client, number) for number in range(20)))
        self.assertEqual(answers, [f"Sandbox answer about: tide {number}" for number in range(20)])


if __name__ == "__main__":
    unittest.main()
