/*
 * The frame around the benchmark kernels. The command line is `KERNEL ROUNDS`; the answer is one line, `bench KERNEL ROUNDS RESULT`, on
 * Xen's console or the first serial port. Then the machine is switched off. No round: start-up and nothing else.
 */
#include "bench.h"

#define CONSOLE_IO 18
#define MMUEXT_OP 26
#define TLB_FLUSH_LOCAL 6
#define DOMID_SELF 0x7ff0
#define SCHED_OP 29
#define SHUTDOWN 2

#define COM1 0x3f8
#define LINE_STATUS (COM1 + 5)
#define HOLDING_EMPTY 0x20
#define ALL_SENT 0x40

static int on_xen;

static inline u64 hypercall4(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
    u64 ret;
    register u64 r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : "a"(nr) : "rcx", "r8", "r9", "r11", "memory");
    return ret;
}
static inline void out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline void out16(u16 port, u16 value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static void wait_serial(u8 condition)
{
    while (!(in8(LINE_STATUS) & condition))
        ;
}

static void print(const char *text)
{
    u64 length = 0;
    while (text[length])
        length++;
    if (on_xen) {
        hypercall4(CONSOLE_IO, 0, length, (u64)text, 0);
        return;
    }
    for (; *text; text++) {
        wait_serial(HOLDING_EMPTY);
        out8(COM1, *text);
        /* Bochs loses what its serial line has not yet sent at the end; this port is a line of its debug console */
        out8(0xe9, *text);
    }
    wait_serial(ALL_SENT);
}

static void __attribute__((noreturn)) power_off(void)
{
    const char *s;
    u32 reason = 0;
    if (on_xen)
        hypercall4(SCHED_OP, SHUTDOWN, (u64)&reason, 0, 0);
    /* ACPI's PM1a control register where QEMU's firmware puts it: sleep enable, state S5 */
    out16(0x604, 0x2000);
    /* the shutdown port of Bochs */
    for (s = "Shutdown"; *s; s++)
        out8(0x8900, *s);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void flush_translations(void)
{
    struct {
        u32 cmd;
        u64 arg1, arg2;
    } flush = { TLB_FLUSH_LOCAL, 0, 0 };
    u64 tables;
    if (on_xen)
        hypercall4(MMUEXT_OP, (u64)&flush, 1, 0, DOMID_SELF);
    else
        __asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(tables) : : "memory");
}

u64 next_random(void)
{
    static u64 state = 0x9e3779b97f4a7c15UL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static const struct {
    const char *name;
    u64 (*run)(u64 rounds);
} KERNELS[] = {
    { "sieve", sieve },         { "hash", hash },           { "chase", chase }, { "calls", calls },
    { "bytecode", bytecode },   { "scattered200", scattered200 }, { "scattered2000", scattered2000 },
    { "sse2", sse2 },           { "copy", copy },           { "newcode", newcode },
};

static char line[128];
static u64 written;

static void put(char c)
{
    if (written < sizeof(line) - 1)
        line[written++] = c;
}
static void put_text(const char *s)
{
    while (*s)
        put(*s++);
}
static void put_decimal(u64 value)
{
    if (value >= 10)
        put_decimal(value / 10);
    put('0' + value % 10);
}
static void put_hex(u64 value)
{
    int shift;
    for (shift = 60; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

/* True when `text` begins with `name` and a space; *behind is what follows. */
static int is_word(const char *text, const char *name, const char **behind)
{
    while (*name)
        if (*text++ != *name++)
            return 0;
    *behind = text + 1;
    return *text == ' ';
}

void __attribute__((noreturn)) kernel_main(const char *command_line, int xen)
{
    const char *number = 0;
    u64 i, rounds = 0;
    on_xen = xen;
    for (i = 0; i < sizeof(KERNELS) / sizeof(*KERNELS); i++) {
        if (!is_word(command_line, KERNELS[i].name, &number))
            continue;
        while (*number >= '0' && *number <= '9')
            rounds = rounds * 10 + *number++ - '0';
        put_text("bench ");
        put_text(KERNELS[i].name);
        put(' ');
        put_decimal(rounds);
        put(' ');
        put_hex(rounds ? KERNELS[i].run(rounds) : 0);
        put('\n');
        print(line);
        power_off();
    }
    print("bench: the command line is not KERNEL ROUNDS\n");
    power_off();
}
