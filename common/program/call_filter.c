#include "program/call_filter.h"

#ifdef CALL_FILTER_IS_KNOWN

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "program/call_rules.h"
#include "program/sanitized.h"

#ifdef __x86_64__
#define MACHINE AUDIT_ARCH_X86_64
#else
#define MACHINE AUDIT_ARCH_AARCH64
#endif

/* Headers of musl do not have all of them. */
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#define NAMESPACES                                                                                 \
    ((uint32_t)CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |       \
     CLONE_NEWPID | CLONE_NEWNET)

enum {
    RANGES_MAX = 320,
    JUMP_MAX = 255,
    JUMPS_MAX = 16,
    /* Numbers of x86-64 with 32-bit pointers (x32); nothing else has numbers so large. */
    FIRST_FOREIGN = 0x40000000,
    CALL_CLONE3 = 435,
};

/* Numbers from first on, up to the next range. */
struct call_range {
    uint32_t first;
    uint32_t action;         /* what the filter returns */
    enum call_verdict check; /* CALL_UNKNOWN: nothing, the action stands */
};

struct filter_builder {
    enum call_filter_kind kind;
    struct sock_filter *code;
    size_t size;
    struct {
        size_t at;
        enum call_verdict check;
    } jumps[JUMPS_MAX]; /* to checks that are still to be written */
    size_t jump_count;
};

static void add_step(struct filter_builder *builder, unsigned code, uint32_t operand,
                     size_t if_true, size_t if_false)
{
    assert(builder->size < CALL_FILTER_MAX && if_true <= JUMP_MAX && if_false <= JUMP_MAX);
    builder->code[builder->size++] =
        (struct sock_filter){(uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, operand};
}

static void emit_return(struct filter_builder *builder, uint32_t action)
{
    add_step(builder, BPF_RET | BPF_K, action, 0, 0);
}

static uint32_t refuse_with(const struct filter_builder *builder, int error)
{
    return (builder->kind == CALL_FILTER_ALONE ? SECCOMP_RET_TRAP : SECCOMP_RET_ERRNO) |
           (uint32_t)error;
}

/* A signal would end the program: libc blocks all of them around what starts a process (glibc since
 * 2.38). The kernel's audit alone says that it was refused. */
enum { REFUSE_FORK = SECCOMP_RET_ERRNO | EPERM };

/* ---- what becomes of a call by its number */

static bool is_checked(const struct filter_builder *builder, enum call_verdict verdict)
{
    switch (verdict) {
    case CALL_CHECK_CONTROL:
    case CALL_CHECK_CLONE:
        return true;
    case CALL_CHECK_SOCKET:
        return builder->kind == CALL_FILTER_ALONE;
    case CALL_CHECK_MAP:
    case CALL_CHECK_PROTECT:
        return builder->kind == CALL_FILTER_ALONE && !PROGRAM_SANITIZED;
    default:
        return false;
    }
}

static uint32_t action_of(const struct filter_builder *builder, enum call_verdict verdict)
{
    bool alone = builder->kind == CALL_FILTER_ALONE;

    switch (verdict) {
    case CALL_UNKNOWN:
        return alone ? refuse_with(builder, ENOSYS) : SECCOMP_RET_ALLOW;
    case CALL_FORBIDDEN:
        return refuse_with(builder, EPERM);
    case CALL_STARTS_PROCESS:
        return alone && !PROGRAM_SANITIZED ? refuse_with(builder, EPERM) : SECCOMP_RET_ALLOW;
    case CALL_FORKS:
        return alone && !PROGRAM_SANITIZED ? REFUSE_FORK : SECCOMP_RET_ALLOW;
    case CALL_LOOKS_INTO_PROCESS:
        return PROGRAM_SANITIZED ? SECCOMP_RET_ALLOW : refuse_with(builder, EPERM);
    default:
        return SECCOMP_RET_ALLOW;
    }
}

static void add_range(struct call_range *ranges, size_t *count, const struct call_range *range)
{
    const struct call_range *last = *count > 0 ? &ranges[*count - 1] : NULL;

    if (last && last->action == range->action && last->check == range->check)
        return;
    assert(*count < RANGES_MAX);
    ranges[(*count)++] = *range;
}

static int compare_numbers(const void *left, const void *right)
{
    const struct call_rule *a = left;
    const struct call_rule *b = right;

    return a->number < b->number ? -1 : a->number > b->number;
}

/* Returns how many there are; they are in order. */
static size_t make_ranges(const struct filter_builder *builder, struct call_range *ranges)
{
    const struct call_range others = {.action = action_of(builder, CALL_UNKNOWN)};
    const struct call_range foreign = {.first = FIRST_FOREIGN,
                                       .action = refuse_with(builder, ENOSYS)};
    struct call_rule rules[RANGES_MAX];
    size_t count = 0;
    uint32_t next = 0;

    assert(call_rules_count <= RANGES_MAX);
    for (size_t i = 0; i < call_rules_count; i++)
        rules[i] = call_rules[i];
    qsort(rules, call_rules_count, sizeof rules[0], compare_numbers);
    for (size_t i = 0; i < call_rules_count; i++) {
        struct call_range range = others;
        range.first = next;
        if (rules[i].number > next || i == 0)
            add_range(ranges, &count, &range);
        range.first = rules[i].number;
        range.action = action_of(builder, rules[i].verdict);
        range.check = is_checked(builder, rules[i].verdict) ? rules[i].verdict : CALL_UNKNOWN;
        add_range(ranges, &count, &range);
        next = rules[i].number + 1;
    }
    struct call_range rest = others;
    rest.first = next;
    add_range(ranges, &count, &rest);
    add_range(ranges, &count, &foreign);
    return count;
}

/* ---- the program */

static void emit_leaf(struct filter_builder *builder, const struct call_range *range)
{
    if (range->check == CALL_UNKNOWN) {
        emit_return(builder, range->action);
        return;
    }
    assert(builder->jump_count < JUMPS_MAX);
    builder->jumps[builder->jump_count].at = builder->size;
    builder->jumps[builder->jump_count++].check = range->check;
    add_step(builder, BPF_JMP | BPF_JA, 0, 0, 0);
}

/*
 * The number is in the accumulator: a binary search for its range, for kernels that run the filter
 * at each call (since 5.11 they remember what is always allowed). It goes as deep as the logarithm
 * of their count.
 */
static void emit_search(struct filter_builder *builder, const struct call_range *ranges,
                        size_t count)
{
    size_t half = count / 2;

    if (count == 1) {
        emit_leaf(builder, ranges);
        return;
    }
    size_t branch = builder->size;
    add_step(builder, BPF_JMP | BPF_JGE | BPF_K, ranges[half].first, 0, 0);
    emit_search(builder, ranges, half);
    size_t lower = builder->size - branch - 1;
    assert(lower <= JUMP_MAX);
    builder->code[branch].jt = (uint8_t)lower;
    emit_search(builder, ranges + half, count - half);
}

/* The lower half of an argument: the kernel takes no more of these either. */
static void emit_load_argument(struct filter_builder *builder, unsigned argument)
{
    add_step(builder, BPF_LD | BPF_W | BPF_ABS,
             (uint32_t)(offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t)), 0, 0);
}

static void emit_socket_check(struct filter_builder *builder)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    const size_t count = sizeof families / sizeof families[0];

    emit_load_argument(builder, 0);
    for (size_t i = 0; i < count; i++)
        add_step(builder, BPF_JMP | BPF_JEQ | BPF_K, families[i], count - i, 0);
    emit_return(builder, refuse_with(builder, EAFNOSUPPORT));
    emit_return(builder, SECCOMP_RET_ALLOW);
}

/* What would type into the terminal that the program has. */
static void emit_control_check(struct filter_builder *builder)
{
    enum { TERMINAL_LINUX = 0x541c };

    emit_load_argument(builder, 1);
    add_step(builder, BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0);
    add_step(builder, BPF_JMP | BPF_JEQ | BPF_K, TERMINAL_LINUX, 0, 1);
    emit_return(builder, refuse_with(builder, EPERM));
    emit_return(builder, SECCOMP_RET_ALLOW);
}

static void emit_clone_check(struct filter_builder *builder)
{
    bool only_threads = builder->kind == CALL_FILTER_ALONE && !PROGRAM_SANITIZED;

    emit_load_argument(builder, 0);
    if (only_threads) {
        add_step(builder, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 1, 0);
        add_step(builder, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
    } else {
        add_step(builder, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1);
    }
    emit_return(builder, REFUSE_FORK);
    emit_return(builder, SECCOMP_RET_ALLOW);
}

static void emit_map_check(struct filter_builder *builder)
{
    const uint32_t both = PROT_WRITE | PROT_EXEC;

    emit_load_argument(builder, 2);
    add_step(builder, BPF_ALU | BPF_AND | BPF_K, both, 0, 0);
    add_step(builder, BPF_JMP | BPF_JEQ | BPF_K, both, 0, 1);
    emit_return(builder, refuse_with(builder, EPERM));
    emit_return(builder, SECCOMP_RET_ALLOW);
}

static void emit_protect_check(struct filter_builder *builder)
{
    emit_load_argument(builder, 2);
    add_step(builder, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    emit_return(builder, refuse_with(builder, EPERM));
    emit_return(builder, SECCOMP_RET_ALLOW);
}

static void emit_checks(struct filter_builder *builder)
{
    static void (*const checks[CALL_VERDICTS])(struct filter_builder *) = {
        [CALL_CHECK_SOCKET] = emit_socket_check,   [CALL_CHECK_CONTROL] = emit_control_check,
        [CALL_CHECK_CLONE] = emit_clone_check,     [CALL_CHECK_MAP] = emit_map_check,
        [CALL_CHECK_PROTECT] = emit_protect_check,
    };

    for (size_t i = 0; i < builder->jump_count; i++) {
        size_t at = builder->jumps[i].at;
        builder->code[at].k = (uint32_t)(builder->size - at - 1);
        checks[builder->jumps[i].check](builder);
    }
}

static void emit_machine_check(struct filter_builder *builder)
{
    add_step(builder, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    add_step(builder, BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
    emit_return(builder, SECCOMP_RET_KILL_PROCESS);
    add_step(builder, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
}

size_t call_filter_build(enum call_filter_kind kind, struct sock_filter out[CALL_FILTER_MAX])
{
    struct filter_builder builder = {.kind = kind, .code = out};
    struct call_range ranges[RANGES_MAX];
    size_t count = make_ranges(&builder, ranges);

    emit_machine_check(&builder);
    emit_search(&builder, ranges, count);
    emit_checks(&builder);
    return builder.size;
}

/* ---- in force */

static bool install_filter(struct sock_filter *code, size_t size, unsigned flags)
{
    const struct sock_fprog program = {.len = (unsigned short)size, .filter = code};

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0;
}

/* By clone3() as well, namespaces can be had. libc does without it, at each thread: that is nothing
 * for the kernel's log. */
static bool install_quiet_filter(void)
{
    struct sock_filter code[8];
    struct filter_builder builder = {.code = code};

    emit_machine_check(&builder);
    add_step(&builder, BPF_JMP | BPF_JEQ | BPF_K, CALL_CLONE3, 0, 1);
    emit_return(&builder, SECCOMP_RET_ERRNO | ENOSYS);
    emit_return(&builder, SECCOMP_RET_ALLOW);
    return install_filter(code, builder.size, SECCOMP_FILTER_FLAG_TSYNC);
}

bool call_filter_install(enum call_filter_kind kind)
{
    struct sock_filter code[CALL_FILTER_MAX];
    size_t size = call_filter_build(kind, code);
    const unsigned flags = SECCOMP_FILTER_FLAG_TSYNC;

    if (!install_quiet_filter())
        return false;
    /* Kernels before 4.14 do not write down what is refused. */
    return install_filter(code, size, flags | SECCOMP_FILTER_FLAG_LOG) ||
           install_filter(code, size, flags);
}

#else

bool call_filter_install(enum call_filter_kind kind)
{
    (void)kind;
    return false;
}

#endif
