/* te_count_plugin.c - a QEMU TCG plug-in: how many instructions had executed at each te_mark().
 *
 *   -plugin libte_count.so,out=FILE,mark=0xADDRESS[,stack=0xLOW:0xHIGH]
 *
 * FILE is a ring that the host maps too (all words uint64, native order):
 *
 *   word 0   marks recorded since the start (written last, with release order)
 *   word 1   capacity of the ring in words, a power of two
 *   word 2   lowest address in [LOW, HIGH) that was stored to; HIGH when there is none
 *   word 3   instructions executed since the start, at the last mark
 *   word 4.. the ring: entry n is at word 4 + n % capacity
 *
 * Instructions are added once per translated block, when it starts. te_mark is entered by a call,
 * so it starts a block: at a mark the count is exact, and includes that block itself. One virtual
 * processor is assumed.
 *
 * QEMU's header is not installed everywhere, so the few functions used are declared here as
 * include/qemu/qemu-plugin.h (QEMU 6.0 to 8.2, API version 1) has them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { QEMU_PLUGIN_CB_NO_REGS = 0, QEMU_PLUGIN_INLINE_ADD_U64 = 0, QEMU_PLUGIN_MEM_W = 2 };

typedef void (*te_tb_callback)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*te_vcpu_callback)(unsigned int vcpu, void *data);
typedef void (*te_mem_callback)(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr,
                                void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, te_tb_callback cb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr,
                                              uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, te_vcpu_callback cb,
                                            int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, te_mem_callback cb, int flags,
                                      int rw, void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { TE_RING_WORDS = 1 << 16, TE_HEAD_WORDS = 4, TE_MARKS = 8 };

static struct {
    uint64_t *file;
    uint64_t executed;
    uint64_t marks[TE_MARKS];
    unsigned mark_count;
    uint64_t stack_low;
    uint64_t stack_high;
} te;

static void te_at_mark(unsigned int vcpu, void *data)
{
    const uint64_t at = te.file[0];
    (void)vcpu;
    (void)data;
    te.file[TE_HEAD_WORDS + at % TE_RING_WORDS] = te.executed;
    te.file[3] = te.executed;
    __atomic_store_n(&te.file[0], at + 1u, __ATOMIC_RELEASE);
}

static void te_at_store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
    (void)vcpu;
    (void)info;
    (void)data;
    if (vaddr >= te.stack_low && vaddr < te.stack_high && vaddr < te.file[2]) {
        te.file[2] = vaddr;
    }
}

static void te_at_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &te.executed, count);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t vaddr = qemu_plugin_insn_vaddr(insn);
        for (unsigned m = 0; m < te.mark_count; m++) {
            if (vaddr == te.marks[m]) {
                qemu_plugin_register_vcpu_insn_exec_cb(insn, te_at_mark, QEMU_PLUGIN_CB_NO_REGS,
                                                       NULL);
            }
        }
        if (te.stack_high > te.stack_low) {
            qemu_plugin_register_vcpu_mem_cb(insn, te_at_store, QEMU_PLUGIN_CB_NO_REGS,
                                             QEMU_PLUGIN_MEM_W, NULL);
        }
    }
}

static bool te_map(const char *path)
{
    const size_t bytes = (TE_HEAD_WORDS + TE_RING_WORDS) * sizeof(uint64_t);
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        return false;
    }
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    te.file = map == MAP_FAILED ? NULL : map;
    return te.file != NULL;
}

static bool te_option(const char *text)
{
    char *end = NULL;
    if (strncmp(text, "out=", 4) == 0) {
        return te_map(text + 4);
    }
    if (strncmp(text, "mark=", 5) == 0 && te.mark_count < TE_MARKS) {
        /* A Thumb function's symbol has bit 0 set, the address of its first instruction not. */
        te.marks[te.mark_count++] = strtoull(text + 5, &end, 0) & ~UINT64_C(1);
        return *end == '\0';
    }
    if (strncmp(text, "stack=", 6) == 0) {
        te.stack_low = strtoull(text + 6, &end, 0);
        if (*end != ':') {
            return false;
        }
        te.stack_high = strtoull(end + 1, &end, 0);
        return *end == '\0';
    }
    return false;
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!te_option(argv[i])) {
            (void)fprintf(stderr, "te_count_plugin: bad option '%s'\n", argv[i]);
            return -1;
        }
    }
    if (te.file == NULL) {
        (void)fprintf(stderr, "te_count_plugin: out=FILE is missing\n");
        return -1;
    }
    te.file[0] = 0u;
    te.file[1] = TE_RING_WORDS;
    te.file[2] = te.stack_high;
    te.file[3] = 0u;
    qemu_plugin_register_vcpu_tb_trans_cb(id, te_at_translation);
    return 0;
}
