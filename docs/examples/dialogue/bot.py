"""A listener that keeps statistics of a conversation of `NAME: text` lines: who says how much, and what."""

import hashlib
import re

from botsession_console import ConsoleBot, Context

WORDS_KEPT = 200
LINES_KEPT = 8

bot = ConsoleBot(
    initial_state={
        "lines": 0,
        "words": {},  # word count of each speaker
        "longest": {"line": 0, "speaker": "", "words": 0},
        "vocabulary": {},  # counts of the most frequent words
        "recent": [],  # the last lines
        "digest": "",  # hash of all lines, in order
    }
)


@bot.on_event
async def listen(context: Context) -> None:
    line = context.event.text
    state = context.state
    speaker, _, text = line.partition(": ")
    words = re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())

    state["lines"] += 1
    state["words"][speaker] = state["words"].get(speaker, 0) + len(words)
    if len(words) > state["longest"]["words"]:
        state["longest"] = {"line": state["lines"], "speaker": speaker, "words": len(words)}
    state["vocabulary"] = most_frequent(state["vocabulary"], words)
    context.set_state(
        {
            "recent": [*state["recent"], line][-LINES_KEPT:],
            "digest": hashlib.sha256((state["digest"] + line).encode()).hexdigest(),
        }
    )
    await context.send_text(f"{state['lines']}. {speaker} has said {state['words'][speaker]} words.")


def most_frequent(counts: dict[str, int], words: list[str]) -> dict[str, int]:
    """Add words to the counts. Drop the rarest once there are more than twice `WORDS_KEPT`."""
    counts = dict(counts)
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    if len(counts) > 2 * WORDS_KEPT:
        counts = dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:WORDS_KEPT])
    return counts
