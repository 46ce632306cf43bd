/* A QEMU TCG plugin that counts executed guest instructions, per virtual CPU.
 *
 * Argument: sock=PATH. Every connection to that Unix socket is answered with one line,
 * "<vcpu0> <vcpu1> ... <total>\n", and closed.
 */
#include "tell.h"

#define MAX_VCPUS 64
/* A cache line each, one writer each: no lock. */
static struct { uint64_t insns; char pad[56]; } counts[MAX_VCPUS] __attribute__((aligned(64)));
static int vcpus = 1;

static void on_execute(unsigned vcpu, void *insns)
{
    if (vcpu < MAX_VCPUS)
        counts[vcpu].insns += (uint64_t)insns;
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execute, 0,
                                         (void *)(uint64_t)qemu_plugin_tb_n_insns(tb));
}

static void tell(FILE *peer)
{
    uint64_t total = 0;
    for (int i = 0; i < vcpus; i++) {
        uint64_t insns = __atomic_load_n(&counts[i].insns, __ATOMIC_RELAXED);
        total += insns;
        fprintf(peer, "%lu ", insns);
    }
    fprintf(peer, "%lu\n", total);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    if (info->system_emulation)
        vcpus = info->system.smp_vcpus < MAX_VCPUS ? info->system.smp_vcpus : MAX_VCPUS;
    serve_at(argc, argv);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
