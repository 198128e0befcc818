"""The worst-case stack against the stack that an emulated board really used.

Start-up paints the RAM between the data and the stack pointer. The program walks its deepest path
(through function pointers and library routines), is interrupted at the bottom of it, and prints how
many bytes no longer carry the paint.
"""

from pathlib import Path

import pytest

from codegen.board import load_board
from codegen.build import build
from codegen.toolchain import run_tool
from tests.fake_dir import write_bare

PORT = """\
#include <stdint.h>

extern uint32_t __stack_top[], __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[];
int main(void);
void Reset_Handler(void);
void pended(void);
static void stop(void);

typedef union vector {
    const void *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    [0] = {.stack = __stack_top}, [1] = {.handler = Reset_Handler},
    [2] = {.handler = stop}, [3] = {.handler = stop}, [14] = {.handler = pended},
};

static void stop(void)
{
    for (;;) {
    }
}

/* PendSV: 64 bytes of locals on top of the entry frame */
void pended(void)
{
    volatile uint8_t locals[64];
    for (uint32_t i = 0u; i < sizeof locals; ++i) {
        locals[i] = (uint8_t)i;
    }
}

static void say(uint32_t value)
{
    static volatile uint32_t *const uart = (volatile uint32_t *)0x40004000;
    for (uint32_t shift = 32u; shift > 0u; shift -= 4u) {
        while ((uart[1] & 1u) != 0u) {
        }
        uart[0] = (uint32_t)"0123456789abcdef"[value >> (shift - 4u) & 15u];
    }
    while ((uart[1] & 1u) != 0u) {
    }
    uart[0] = '\\n';
}

void Reset_Handler(void)
{
    *(volatile uint32_t *)0xE000ED88 |= UINT32_C(0xF) << 20;
    __asm__ volatile("dsb\\n isb" ::: "memory");
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to != __data_end;) {
        *to++ = *from++;
    }
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (uint32_t *to = __bss_start; to != __bss_end; ++to) {
        *to = 0u;
    }
    /* volatile: a call of memset would paint over its own frame */
    for (volatile uint32_t *to = __bss_end; to != here; ++to) {
        *to = 0xA5A5A5A5u;
    }
    (void)main();
    *(volatile uint32_t *)0x40004010 = 217u;
    *(volatile uint32_t *)0x40004008 = 1u;
    const uint32_t *lowest = __bss_end;
    while (*lowest == 0xA5A5A5A5u) {
        ++lowest;
    }
    say((uint32_t)((uintptr_t)__stack_top - (uintptr_t)lowest));
    /* semihosting: SYS_EXIT, ADP_Stopped_ApplicationExit */
    __asm__ volatile("movs r0, #0x18\\n ldr r1, =0x20026\\n bkpt 0xab" ::: "r0", "r1", "memory");
    stop();
}
"""

# the bottom of the path: a 64-bit division of the library, a float, a copy; then the interrupt
LEAF = """\
#include <stdint.h>
#include <string.h>

#include "te_mark.h"

typedef struct big {
    uint8_t bytes[200];
} big;

static volatile int64_t dividend = 1000000007, divisor = 3;
static big from, to;

void te_mark(void)
{
    float scaled = (float)(dividend / divisor);
    scaled *= 1.5f;
    big copy;
    memcpy(&copy, &from, sizeof copy);
    copy.bytes[0] = (uint8_t)scaled;
    *(volatile uint32_t *)0xE000ED04 = UINT32_C(1) << 28; /* PendSV */
    __asm__ volatile("dsb\\n isb" : : "r"(&copy) : "memory");
    to = copy;
}
"""


@pytest.mark.parametrize("name", ["qemu_mps2_an386", "qemu_mps2_an500"])
def test_painted_stack_stays_within_the_computed_one(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    folder = write_bare(tmp_path / "gen", name, board.build.port)
    (folder / "port" / "cortex_m" / "start.c").write_text(PORT)
    (folder / "src" / "te" / "te_mark.c").write_text(LEAF)
    result = build(folder, board)
    argv = ["qemu-system-arm", "-M", str(board.run.machine), "-nographic", "-monitor", "none"]
    argv += ["-serial", "stdio", "-semihosting-config", "enable=on,target=native"]
    answer = run_tool([*argv, "-kernel", str(result.elf)], timeout_s=30)
    used_bytes = int(answer.stdout.split()[0], 16)
    assert result.stack_bytes is not None
    # what never happened: a fault inside the interrupt (one entry), and the interrupt inside the
    # library's division rather than after it (its frames, below 64 bytes)
    fault_bytes = 26 * 4 + 4
    slack_bytes = result.stack_bytes - fault_bytes - used_bytes
    assert used_bytes > 700
    assert 0 <= slack_bytes < 64, f"used {used_bytes}, computed {result.stack_bytes}"
