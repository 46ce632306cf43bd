/* A QEMU TCG plugin that counts how often each guest instruction is executed.
 *
 * Argument: sock=PATH. Every connection to that Unix socket is answered with a line
 * "<address, hexadecimal> <count>\n" for each instruction of each translated block, and closed; an
 * instruction that is in several blocks has several lines.
 *
 * One virtual CPU only: counts have one writer.
 */
#include "tell.h"

struct block {
    uint64_t executed;
    struct block *next;
    size_t length;
    uint64_t addresses[];
};

/* Every block ever translated: pushed at the front, never taken out, so that it can be read at any
 * time. QEMU translates again what it has thrown away; that is a new block here. */
static struct block *blocks;

static void on_execute(unsigned vcpu, void *block)
{
    (void)vcpu;
    ((struct block *)block)->executed++;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block + length * sizeof block->addresses[0]);
    if (!block) {
        perror("profile");
        exit(1);
    }
    block->length = length;
    for (size_t i = 0; i < length; i++)
        block->addresses[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
    block->next = blocks;
    __atomic_store_n(&blocks, block, __ATOMIC_RELEASE);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execute, 0, block);
}

static void tell(FILE *peer)
{
    struct block *block = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE);
    for (; block; block = block->next) {
        uint64_t executed = __atomic_load_n(&block->executed, __ATOMIC_RELAXED);
        for (size_t i = 0; executed && i < block->length; i++)
            fprintf(peer, "%lx %lu\n", block->addresses[i], executed);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    serve_at(argc, argv);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
