/* What the filter of system calls lets through, what it refuses and how, in children that give it
 * up; and that a refusal is logged. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "io/thread.h"
#include "program/call_filter.h"
#include "program/call_refusals.h"
#include "program/call_rules.h"
#include "program/confine.h"
#include "program/sanitized.h"

#ifdef CALL_FILTER_IS_KNOWN

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

enum { PASSED, NOT_THERE = 77, FAILED = 100, PAGE = 4096 };

/* ---- the program, run as the kernel runs it */

static uint32_t run_filter(const struct sock_filter *code, size_t size,
                           const struct seccomp_data *data)
{
    uint32_t accumulator = 0;

    for (size_t at = 0; at < size; at++) {
        const struct sock_filter *step = &code[at];
        bool holds = false;
        switch (step->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(step->k + 4 <= sizeof *data && step->k % 4 == 0);
            memcpy(&accumulator, (const uint8_t *)data + step->k, 4);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= step->k;
            continue;
        case BPF_JMP | BPF_JA:
            at += step->k;
            continue;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = accumulator >= step->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = accumulator == step->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = (accumulator & step->k) != 0;
            break;
        case BPF_RET | BPF_K:
            return step->k;
        default:
            fail_msg("an instruction that no filter here has: %u", step->code);
        }
        at += holds ? step->jt : step->jf;
    }
    fail_msg("the filter has no end");
    return 0;
}

#ifdef __x86_64__
#define MACHINE_HERE AUDIT_ARCH_X86_64
#define OTHER_MACHINE AUDIT_ARCH_I386
#else
#define MACHINE_HERE AUDIT_ARCH_AARCH64
#define OTHER_MACHINE AUDIT_ARCH_ARM
#endif

static uint32_t ask_filter(enum call_filter_kind kind, int number, uint64_t first, uint64_t second,
                           uint64_t third)
{
    struct sock_filter code[CALL_FILTER_MAX];
    size_t size = call_filter_build(kind, code);
    const struct seccomp_data data = {
        .nr = number, .arch = (uint32_t)MACHINE_HERE, .args = {first, second, third}};

    return run_filter(code, size, &data);
}

/* Each row is what it says, whatever the search for it does. */
static void every_rule_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < call_rules_count; i++) {
        const struct call_rule *rule = &call_rules[i];
        uint32_t alone = ask_filter(CALL_FILTER_ALONE, (int)rule->number, 0, 0, 0);
        uint32_t commands = ask_filter(CALL_FILTER_WITH_COMMANDS, (int)rule->number, 0, 0, 0);
        for (size_t other = 0; other < i; other++)
            assert_int_not_equal(call_rules[other].number, rule->number);
        assert_string_equal(call_rules_name(rule->number), rule->name);
        switch (rule->verdict) {
        case CALL_ALLOWED:
            assert_int_equal(alone, SECCOMP_RET_ALLOW);
            assert_int_equal(commands, SECCOMP_RET_ALLOW);
            break;
        case CALL_FORBIDDEN:
            assert_int_equal(alone, SECCOMP_RET_TRAP | EPERM);
            assert_int_equal(commands, SECCOMP_RET_ERRNO | EPERM);
            break;
        case CALL_STARTS_PROCESS:
            assert_int_equal(alone,
                             PROGRAM_SANITIZED ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP | EPERM);
            assert_int_equal(commands, SECCOMP_RET_ALLOW);
            break;
        case CALL_FORKS:
            assert_int_equal(alone,
                             PROGRAM_SANITIZED ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM);
            assert_int_equal(commands, SECCOMP_RET_ALLOW);
            break;
        default:
            break;
        }
    }
    assert_null(call_rules_name(9999));
}

static void what_is_not_in_the_table(void **state)
{
    static const int numbers[] = {-1, 9999, 0x40000000, 0x40000000 | __NR_getpid};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bool foreign = (uint32_t)numbers[i] >= 0x40000000;
        assert_int_equal(ask_filter(CALL_FILTER_ALONE, numbers[i], 0, 0, 0),
                         SECCOMP_RET_TRAP | ENOSYS);
        assert_int_equal(ask_filter(CALL_FILTER_WITH_COMMANDS, numbers[i], 0, 0, 0),
                         foreign ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_ALLOW);
    }
}

/* The same number is another call there. */
static void another_machines_calls(void **state)
{
    struct sock_filter code[CALL_FILTER_MAX];
    const struct seccomp_data data = {.nr = __NR_read, .arch = (uint32_t)OTHER_MACHINE};

    (void)state;
    for (int kind = CALL_FILTER_ALONE; kind <= CALL_FILTER_WITH_COMMANDS; kind++) {
        size_t size = call_filter_build((enum call_filter_kind)kind, code);
        assert_int_equal(run_filter(code, size, &data), SECCOMP_RET_KILL_PROCESS);
    }
}

static void arguments(void **state)
{
    const uint32_t refused = SECCOMP_RET_TRAP | EPERM;
    const uint32_t no_process = SECCOMP_RET_ERRNO | EPERM; /* signals may be blocked */
    const uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    const uint64_t above = (uint64_t)1 << 32;
    enum { READ_WRITE = PROT_READ | PROT_WRITE };

    (void)state;
#define ALONE(...) ask_filter(CALL_FILTER_ALONE, __VA_ARGS__)
#define COMMANDS(...) ask_filter(CALL_FILTER_WITH_COMMANDS, __VA_ARGS__)
    assert_int_equal(ALONE(__NR_socket, AF_INET6, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_socket, above | AF_UNIX, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_socket, AF_PACKET, 0, 0), SECCOMP_RET_TRAP | EAFNOSUPPORT);
    assert_int_equal(COMMANDS(__NR_socket, AF_PACKET, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_ioctl, 0, FIONREAD, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_ioctl, 0, TIOCSTI, 0), refused);
    assert_int_equal(ALONE(__NR_ioctl, 0, above | TIOCSTI, 0), refused);
    assert_int_equal(COMMANDS(__NR_ioctl, 0, TIOCSTI, 0), SECCOMP_RET_ERRNO | EPERM);
    assert_int_equal(ALONE(__NR_clone, thread, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_clone, thread | CLONE_NEWNS, 0, 0), no_process);
    assert_int_equal(ALONE(__NR_clone, CLONE_NEWUSER, 0, 0), no_process);
    assert_int_equal(COMMANDS(__NR_clone, CLONE_NEWUSER, 0, 0), SECCOMP_RET_ERRNO | EPERM);
    assert_int_equal(COMMANDS(__NR_clone, SIGCHLD, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(COMMANDS(__NR_mprotect, 0, PAGE, PROT_EXEC), SECCOMP_RET_ALLOW);
#if !PROGRAM_SANITIZED
    assert_int_equal(ALONE(__NR_clone, SIGCHLD, 0, 0), no_process);
    assert_int_equal(ALONE(__NR_mmap, 0, PAGE, PROT_READ | PROT_EXEC), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_mmap, 0, PAGE, READ_WRITE), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_mmap, 0, PAGE, READ_WRITE | PROT_EXEC), refused);
    assert_int_equal(ALONE(__NR_mprotect, 0, PAGE, READ_WRITE), SECCOMP_RET_ALLOW);
    assert_int_equal(ALONE(__NR_mprotect, 0, PAGE, PROT_READ | PROT_EXEC), refused);
    assert_int_equal(ALONE(__NR_pkey_mprotect, 0, PAGE, PROT_EXEC), refused);
#endif
#undef ALONE
#undef COMMANDS
}

/* ---- in force, in a child */

static int run_in_child(int (*look)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(look());
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        return FAILED + WTERMSIG(status);
    return WEXITSTATUS(status);
}

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #condition, errno);              \
            return FAILED;                                                                         \
        }                                                                                          \
    } while (0)

static bool fails_with(long result, int error)
{
    return result == -1 && errno == error;
}

static void *try_in_thread(void *argument)
{
    bool *refused = argument;

    *refused = fails_with(unshare(CLONE_NEWUTS), EPERM);
    return NULL;
}

static char logged[LOG_LINE_MAX * 4];

static void keep_line(void *context, const char *line, size_t size)
{
    (void)context;
    if (strlen(logged) + size < sizeof logged)
        strncat(logged, line, size);
}

#if !PROGRAM_SANITIZED
/* As libc does around fork() and posix_spawn(), some versions of it at least. */
static bool block_all_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    return pthread_sigmask(SIG_BLOCK, &all, NULL) == 0;
}

static bool unblock_all_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    return pthread_sigmask(SIG_UNBLOCK, &all, NULL) == 0;
}
#endif

static int be_alone(void)
{
    const struct log_settings settings = {.level = LOG_LEVEL_DEBUG, .sink = keep_line};
    const struct confine_needs needs = {.all_files = true};
    struct worker worker;
    struct log log;
    struct addrinfo *found;
    pthread_t thread;
    bool refused_in_thread = false;

    log_init(&log, &settings);
    EXPECT(worker_init(&worker, &log, 64 << 20));
    const struct confined confined = confine(&worker, &needs);
    if (!confined.system_calls) {
        worker_clear(&worker);
        return NOT_THERE;
    }
    EXPECT(confined.privileges && !confined.files);
    EXPECT(fails_with(unshare(CLONE_NEWUSER), EPERM));
    EXPECT(fails_with(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT));
    EXPECT(fails_with(syscall(9999), ENOSYS));
    EXPECT(fails_with(syscall(__NR_clone3, NULL, 0), ENOSYS));
#if !PROGRAM_SANITIZED
    EXPECT(fails_with(fork(), EPERM));
    EXPECT(block_all_signals() && fails_with(fork(), EPERM) && unblock_all_signals());
    EXPECT(fails_with(execl("/bin/true", "true", (char *)NULL), EPERM));
    EXPECT(fails_with(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM));
#endif
    EXPECT(socket(AF_INET, SOCK_STREAM, 0) >= 0);
    EXPECT(open("/etc/hosts", O_RDONLY | O_CLOEXEC) >= 0);
    EXPECT(getaddrinfo("localhost", "9092", NULL, &found) == 0);
    freeaddrinfo(found);
    EXPECT(thread_start(&thread, NULL, try_in_thread, &refused_in_thread) == 0);
    EXPECT(pthread_join(thread, NULL) == 0 && refused_in_thread);
    EXPECT(raise(SIGSYS) == 0); /* without a call it is nothing */
    worker_clear(&worker);
    /* Without the worker it is refused all the same. */
    EXPECT(fails_with(unshare(CLONE_NEWUSER), EPERM));
    EXPECT(strstr(logged, "call=unshare") && strstr(logged, "call=socket"));
    EXPECT(strstr(logged, "number 9999") && !strstr(logged, "clone3"));
    return PASSED;
}

static void alone(void **state)
{
    (void)state;
    int result = run_in_child(be_alone);
    if (result == NOT_THERE)
        skip();
    assert_int_equal(result, PASSED);
}

/* Threads that run already are confined as well. */
static pthread_barrier_t barrier;

static void *wait_and_try(void *argument)
{
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return try_in_thread(argument);
}

static int confine_others(void)
{
    bool refused = false;
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 2);
    EXPECT(pthread_create(&thread, NULL, wait_and_try, &refused) == 0);
    pthread_barrier_wait(&barrier);
    bool there = confine_privileges() && call_filter_install(CALL_FILTER_WITH_COMMANDS);
    pthread_barrier_wait(&barrier);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(refused || !there);
    return there ? PASSED : NOT_THERE;
}

static void threads_that_run(void **state)
{
    (void)state;
    int result = run_in_child(confine_others);
    if (result == NOT_THERE)
        skip();
    assert_int_equal(result, PASSED);
}

/* A command does what it wants, but for what is forbidden to it. */
static int run_commands(void)
{
    int status;

    if (!confine_privileges() || !call_filter_install(CALL_FILTER_WITH_COMMANDS))
        return NOT_THERE;
    EXPECT(fails_with(unshare(CLONE_NEWUSER), EPERM));
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "test \"$(echo it works | tr a-z A-Z)\" = \"IT WORKS\"",
              (char *)NULL);
        _exit(FAILED);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void with_commands(void **state)
{
    (void)state;
    int result = run_in_child(run_commands);
    if (result == NOT_THERE)
        skip();
    assert_int_equal(result, PASSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_is_found),
        cmocka_unit_test(what_is_not_in_the_table),
        cmocka_unit_test(another_machines_calls),
        cmocka_unit_test(arguments),
        cmocka_unit_test(alone),
        cmocka_unit_test(threads_that_run),
        cmocka_unit_test(with_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 77; /* meson's word for a test that is skipped */
}

#endif
