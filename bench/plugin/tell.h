/* What both plugins are made of: the few functions of QEMU's that are used, declared here because
 * Debian ships no qemu-plugin.h (plugin interface version 1, QEMU docs/devel/tcg-plugins.rst), and a
 * Unix socket, named by the argument sock=PATH, at which every connection is told what was counted,
 * by tell(), and closed.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
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
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void tell(FILE *peer);

static void *serve(void *unused)
{
    (void)unused;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(address.sun_path);
    if (listener < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 8)) {
        perror("plugin: socket");
        return NULL;
    }
    for (;;) {
        int accepted = accept(listener, NULL, NULL);
        FILE *peer = accepted < 0 ? NULL : fdopen(accepted, "w");
        if (!peer)
            continue;
        tell(peer);
        if (fclose(peer))
            perror("plugin: write");
    }
}

static void serve_at(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "sock=", 5) == 0) {
            pthread_t thread;
            strncpy(address.sun_path, argv[i] + 5, sizeof address.sun_path - 1);
            pthread_create(&thread, NULL, serve, NULL);
        }
    }
}
