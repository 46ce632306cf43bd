/* A QEMU TCG plugin that counts how often each guest instruction is executed.
 *
 * Argument: sock=PATH. Every connection to that Unix socket is answered with a line
 * "<address, hexadecimal> <count>\n" for each instruction of each translated block, and closed; an
 * instruction that is in several blocks has several lines.
 *
 * One virtual CPU only: counts have one writer. Debian ships no qemu-plugin.h, so the few functions
 * used are declared here (plugin interface version 1, QEMU docs/devel/tcg-plugins.rst).
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
typedef struct qemu_info qemu_info_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

struct block {
    uint64_t executed;
    struct block *next;
    size_t length;
    uint64_t addresses[];
};

/* Every block ever translated: pushed at the front, never taken out, so that it can be read at any
 * time. QEMU translates again what it has thrown away; that is a new block here. */
static struct block *blocks;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

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

static void *serve(void *unused)
{
    (void)unused;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(address.sun_path);
    if (listener < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 8)) {
        perror("profile: socket");
        return NULL;
    }
    for (;;) {
        int accepted = accept(listener, NULL, NULL);
        FILE *peer = accepted < 0 ? NULL : fdopen(accepted, "w");
        if (!peer)
            continue;
        tell(peer);
        if (fclose(peer))
            perror("profile: write");
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
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
