/* uptake: the table of commands. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "ingest/command.h"
#include "uptake/metrics.h"

static const struct upt_command *const commands[] = {
    &upt_cmd_run,    &upt_cmd_demo,         &upt_cmd_generate, &upt_cmd_check,  &upt_cmd_show, &upt_cmd_top,
    &upt_cmd_alerts, &upt_cmd_dead_letters, &upt_cmd_forget,   &upt_cmd_verify, &upt_cmd_fit,
};
static const size_t commands_n = sizeof(commands) / sizeof(commands[0]);

static void
print_help(FILE *to)
{
    fprintf(to, "uptake " UPT_VERSION ": product-usage events on Kafka to exact counters in Redis and churn alerts\n\n"
                "Usage: uptake COMMAND …\n\n");
    for (size_t i = 0; i < commands_n; i++) {
        fprintf(to, "  %-13s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(to, "\n  uptake COMMAND --help says more; --version, --help-config and --list-metrics print and exit.\n");
}

static int
print_markdown(void (*write)(struct upt_buf *out))
{
    struct upt_buf out = {0};
    write(&out);
    fwrite(out.p, 1, out.len, stdout);
    upt_buf_fini(&out);
    return EX_OK;
}

/* librdkafka takes and gives back buffers of a megabyte and hundreds of bytes for each record. By default glibc returns
 * such memory to the kernel again and again and has it cleared anew: a sixth of the whole process's time. M_TOP_PAD is
 * what keeps it in the arenas of threads; setting any of the three ends the adapting of the others, so all are set. */
static void
keep_memory(void)
{
#ifdef M_TOP_PAD
    (void)mallopt(M_TOP_PAD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 128 << 20);
    (void)mallopt(M_MMAP_THRESHOLD, 16 << 20);
#endif
}

/* An event touches some ten small blocks anywhere in the state, and with pages of 4 KiB nearly each costs a walk
 * through the page tables. With huge pages the whole takes 1.04 instead of 1.18 CPU-seconds a million (cost.py's topic
 * with 10,000,000 events, four rounds in turn: 0.94, 0.84, 0.98, 0.88 times the time), and up to a ninth
 * more memory at the peak (508 instead of 459 MiB).
 *
 * glibc asks for them only if the environment says so when a program begins, so the pipeline begins again, once; by its
 * path, since it would be called "exe" after /proc/self/exe. Whoever has set GLIBC_TUNABLES has chosen. */
static void
use_huge_pages(char **argv)
{
#ifdef __GLIBC__
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (len > 0 && getenv("GLIBC_TUNABLES") == NULL && setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0) == 0) {
        path[len] = '\0';
        (void)execv(path, argv); /* if it cannot: as it is */
    }
#else
    (void)argv;
#endif
}

/* Each of the three that is closed would be the next file or socket that is opened, and Redis would be sent what is
 * printed. Nothing can be written to this standard output: its loss is told at the end. */
static void
open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            _exit(EX_OSERR); /* nowhere to say why */
        }
    }
}

/* Output that did not reach anybody is no success. Who stopped reading (a pipe to `head`) has what was wanted. */
static int
end_output(int rc)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    const char *why = fflush(stdout) != 0 ? strerror(errno) : ferror(stdout) != 0 ? "a write failed" : NULL;
    if (why == NULL || (poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)) {
        return rc;
    }
    fprintf(stderr, "uptake: standard output cannot be written: %s\n", why);
    return rc != EX_OK ? rc : EX_IOERR;
}

static int
run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EX_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("uptake " UPT_VERSION "\n");
        return EX_OK;
    }
    if (strcmp(argv[1], "--help-config") == 0) {
        return print_markdown(upt_config_markdown);
    }
    if (strcmp(argv[1], "--list-metrics") == 0) {
        return print_markdown(upt_metrics_markdown);
    }
    for (size_t i = 0; i < commands_n; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            return commands[i]->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "uptake: there is no command %s; `uptake --help` lists them\n", argv[1]);
    return EX_USAGE;
}

int
main(int argc, char **argv)
{
    open_standard();
    if (argc > 1 && strcmp(argv[1], upt_cmd_run.name) == 0) {
        use_huge_pages(argv);
    }
    /* Secrets in memory do not go into a core file. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    keep_memory();
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    return end_output(run(argc, argv));
}
