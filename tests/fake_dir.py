"""A generated folder written by hand: the real runtime, around a model of a few lines."""

import json
import shutil
from pathlib import Path

from codegen.paths import firmware_dir

# its deepest path: main -> session -> train_step through a pointer -> 400 bytes of locals
MODEL = """\
#include "te_model.h"
#include "te_mark.h"

static uint8_t arena[ARENA_BYTES];
static int8_t weight[16] = {1, 2, 3, 4};
static te_hyper hyper = {0.5f, 7u, 0u};
static const te_tensor state[1] = {{"fc/weight", weight, sizeof weight, TE_I8}};

static void fake_init(void)
{
    for (uint32_t i = 0u; i < sizeof weight; ++i) {
        weight[i] = (int8_t)i;
    }
    hyper.step = 0u;
}

static te_status fake_forward(const void *x, void *y)
{
    (void)x;
    (void)y;
    te_mark();
    arena[8] = (uint8_t)(arena[0] + (uint8_t)weight[arena[1] & 15u]);
    te_mark();
    return TE_OK;
}

static te_status fake_train_step(const void *x, uint32_t label, float *loss)
{
    volatile uint8_t scratch[400];
    (void)x;
    te_mark();
    for (uint32_t i = 0u; i < sizeof scratch; ++i) {
        scratch[i] = arena[i & 7u];
    }
    weight[label & 15u] = (int8_t)scratch[label];
    te_mark();
    hyper.step += 1u;
    *loss = hyper.lr;
    return TE_OK;
}

extern const te_model te_session_model;
const te_model te_session_model = {
    .name = "fake",
    .input = arena, .input_bytes = 8u,
    .output = arena + 8, .output_bytes = 4u, .output_dtype = TE_I8,
    .classes = 4u,
    .state = state, .state_count = 1u,
    .hyper = &hyper,
    .init = fake_init, .forward = fake_forward, .train_step = fake_train_step,
    .forward_marks = 2u, .train_marks = 2u,
};
"""

MAIN = """\
#include "te_model.h"

int main(void);

int main(void)
{
    float loss = 0.0f;
    te_session_model.init();
    return (int)te_session_model.train_step(0, 1u, &loss);
}
"""

# the smallest Arm port: three vectors and a reset that copies .data and clears .bss
PORT = """\
#include <stdint.h>

extern uint8_t __stack_top[];
extern uint8_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];
int main(void);
void Reset_Handler(void);
static void stop(void);

typedef union vector {
    const void *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = __stack_top},
    {.handler = Reset_Handler},
    {.handler = stop}, {.handler = stop}, {.handler = stop}, {.handler = stop}, {.handler = stop},
};

static void stop(void)
{
    for (;;) {
    }
}

void Reset_Handler(void)
{
    const uint8_t *from = __data_load;
    for (uint8_t *to = __data_start; to < __data_end; ++to) {
        *to = *from++;
    }
    for (uint8_t *to = __bss_start; to < __bss_end; ++to) {
        *to = 0u;
    }
    (void)main();
    stop();
}
"""


def write_fake(folder: Path, board: str, *, arena_bytes: int = 64) -> Path:
    """Write a folder with the real runtime files around the fake model; return it."""
    runtime = folder / "src" / "te"
    runtime.mkdir(parents=True)
    for path in (*firmware_dir().glob("include/*.h"), *firmware_dir().glob("runtime/*.c")):
        shutil.copy(path, runtime)
    _write_model(folder, board, arena_bytes)
    return folder


def write_bare(folder: Path, board: str, port: str, *, arena_bytes: int = 64) -> Path:
    """Write a folder with no runtime: a main that trains once, and a port of its own."""
    runtime = folder / "src" / "te"
    runtime.mkdir(parents=True)
    shutil.copy(firmware_dir() / "include" / "te_model.h", runtime)
    (runtime / "te_mark.h").write_text("#ifndef M\n#define M\nvoid te_mark(void);\n#endif\n")
    (runtime / "te_mark.c").write_text('#include "te_mark.h"\nvoid te_mark(void) {}\n')
    (folder / "src" / "main.c").write_text(MAIN)
    for name in (port, "cortex_m"):
        (folder / "port" / name).mkdir(parents=True)
    if board != "host":
        (folder / "port" / "cortex_m" / "start.c").write_text(PORT)
    _write_model(folder, board, arena_bytes)
    return folder


def _write_model(folder: Path, board: str, arena_bytes: int) -> None:
    text = MODEL.replace("ARENA_BYTES", str(arena_bytes))
    (folder / "src" / "te_session_model.c").write_text(text)
    (folder / "te_manifest.json").write_text(json.dumps({"model": "fake", "board": board}))
