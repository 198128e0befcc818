"""Cases as a bare Arm program in QEMU; arena in and out as files, through semihosting."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from codegen.board import Board
from codegen.build import C_FLAGS
from codegen.emit import emit
from codegen.linker import render_linker_script
from tests.hostc.kernel_rig import NAME, Rig, split_answer
from tinyengine.ir.tensor import Array

MAIN = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "te_mark.h"
#include "cases.h"

extern uint32_t __stack_top[], __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[];
void Reset_Handler(void);
static void stop(void);

typedef union vector {
    const void *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    [0] = {.stack = __stack_top}, [1] = {.handler = Reset_Handler},
    [2] = {.handler = stop}, [3] = {.handler = stop},
};

static uint32_t semihosting(uint32_t operation, const void *block)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void stop(void)
{
    const uint32_t exit_1[2] = {0x20026u, 1u};
    (void)semihosting(0x20u, exit_1);
}

void te_mark(void) {}

static uint32_t handle(const char *name, uint32_t mode)
{
    const uint32_t block[3] = {(uint32_t)name, mode, (uint32_t)strlen(name)};
    return semihosting(1u, block);
}

static void move(uint32_t operation, uint32_t file, void *data, uint32_t bytes)
{
    const uint32_t block[3] = {file, (uint32_t)data, bytes};
    if (semihosting(operation, block) != 0u) {
        stop();
    }
}

void Reset_Handler(void)
{
    *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20;
    __asm__ volatile("dsb\\n isb" ::: "memory");
    memcpy(__data_start, __data_load, (size_t)((uint8_t *)__data_end - (uint8_t *)__data_start));
    memset(__bss_start, 0, (size_t)((uint8_t *)__bss_end - (uint8_t *)__bss_start));
    static uint8_t state[CASES_STATE_BYTES + 1];
    static uint32_t scalars[4];
    const uint32_t in = handle("in.bin", 1u), out = handle("out.bin", 5u);
    move(6u, in, scalars, sizeof scalars);
    move(6u, in, cases_arena, ARENA_BYTES);
    cases_init();
    memcpy(&cases_hyper.lr, &scalars[1], 4u);
    cases_hyper.seed = scalars[2];
    cases_hyper.step = scalars[3];
    if (cases_train_step(NULL, scalars[0], NULL) != TE_OK) {
        stop();
    }
    (void)cases_save(state, CASES_STATE_BYTES);
    move(5u, out, cases_arena, ARENA_BYTES);
    move(5u, out, state, CASES_STATE_BYTES);
    const uint32_t exit_0[2] = {0x20026u, 0u};
    (void)semihosting(0x20u, exit_0);
}
"""


def run_on_arm(
    rig: Rig, board: Board, folder: Path, scalars: dict[str, Any]
) -> tuple[Array, dict[str, Array]]:
    """Build the cases for a board, run one step; return the arena and the states by name."""
    for name, text in emit(rig.compiled, board).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "main.c").write_text(MAIN)
    (folder / "board.ld").write_text(render_linker_script(board))
    kernels = [p for p in sorted((folder / "src" / "te").glob("te_*.c")) if not _is_runtime(p)]
    argv = [f"{board.build.toolchain}gcc", *C_FLAGS, *board.build.cflags, "-Isrc", "-Isrc/te"]
    argv += [f"-DARENA_BYTES={rig.compiled.arena_bytes}u", "main.c", f"src/{NAME}.c"]
    argv += [*map(str, kernels), "-nostartfiles", "--specs=nano.specs", "-Wl,-T,board.ld"]
    subprocess.run([*argv, "-Wl,--gc-sections", "-o", "rig.elf"], cwd=folder, check=True)
    words = [scalars[n].view(np.uint32) for n in ("label", "lr", "seed", "step")]
    (folder / "in.bin").write_bytes(np.array(words, np.uint32).tobytes() + rig.before.tobytes())
    run = ["qemu-system-arm", "-M", str(board.run.machine), "-nographic", "-monitor", "none"]
    run += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*run, "-kernel", "rig.elf"], cwd=folder, timeout=60, check=False)
    assert done.returncode == 0
    return split_answer(rig, (folder / "out.bin").read_bytes())


def _is_runtime(path: Path) -> bool:
    return path.stem in {
        "te_cobs", "te_commands", "te_crc32", "te_frame", "te_main", "te_mark", "te_session",
        "te_sha256",
    }  # fmt: skip
