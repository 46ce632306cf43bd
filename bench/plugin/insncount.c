/* A QEMU TCG plugin that counts executed guest instructions, per virtual CPU.
 *
 * Argument: sock=PATH. Every connection to that Unix socket is answered with one line,
 * "<vcpu0> <vcpu1> ... <total>\n", and closed.
 *
 * Debian ships no qemu-plugin.h, so the few functions used are declared here
 * (plugin interface version 1, QEMU docs/devel/tcg-plugins.rst).
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    union { struct { int smp_vcpus, max_vcpus; } system; };
} qemu_info_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

#define MAX_VCPUS 64
/* A cache line each, one writer each: no lock. */
static struct { uint64_t insns; char pad[56]; } counts[MAX_VCPUS] __attribute__((aligned(64)));
static int vcpus = 1;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

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

static void *serve(void *unused)
{
    (void)unused;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(address.sun_path);
    if (listener < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 8)) {
        perror("insncount: socket");
        return NULL;
    }
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0)
            continue;
        char line[MAX_VCPUS * 21 + 32];
        int length = 0;
        uint64_t total = 0;
        for (int i = 0; i < vcpus; i++) {
            uint64_t insns = __atomic_load_n(&counts[i].insns, __ATOMIC_RELAXED);
            total += insns;
            length += snprintf(line + length, sizeof line - length, "%lu ", insns);
        }
        length += snprintf(line + length, sizeof line - length, "%lu\n", total);
        if (write(peer, line, length) != length)
            perror("insncount: write");
        close(peer);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    if (info->system_emulation)
        vcpus = info->system.smp_vcpus < MAX_VCPUS ? info->system.smp_vcpus : MAX_VCPUS;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "sock=", 5) == 0) {
            pthread_t thread;
            strncpy(address.sun_path, argv[i] + 5, sizeof address.sun_path - 1);
            pthread_create(&thread, NULL, serve, NULL);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
