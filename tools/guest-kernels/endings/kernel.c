/*
 * A small Xen PV kernel that ends, or does not end, in the way that the first word of its command line names; a number behind it
 * says how long. The tests of verdicts record it: half of the ways get nowhere, the other half only look like that.
 */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define PAGE_SIZE 4096UL
#define VIRT_BASE 0xffffffff80000000UL
#define SET_TRAP_TABLE 0
#define SET_CALLBACKS 4
#define UPDATE_VA_MAPPING 14
#define SET_TIMER_OP 15
#define XEN_VERSION 17
#define CONSOLE_IO 18
#define VCPU_OP 24
#define SCHED_OP 29
#define EVENT_CHANNEL_OP 32
#define SCHEDOP_yield 0
#define SCHEDOP_block 1
#define SCHEDOP_shutdown 2
#define SHUTDOWN_poweroff 0
#define SHUTDOWN_reboot 1
#define VCPUOP_set_periodic_timer 6
#define VCPUOP_stop_periodic_timer 7
#define EVTCHNOP_bind_virq 1
#define EVTCHNOP_send 4
#define EVTCHNOP_bind_ipi 7
#define VIRQ_TIMER 0

struct start_info {
    char magic[32];
    u64 nr_pages, shared_info;
    u32 flags;
    u64 store_mfn;
    u32 store_evtchn;
    u64 console_mfn;
    u32 console_evtchn;
    u64 pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;
    char cmd_line[1024];
};
struct trap_info {
    u8 vector, flags;
    unsigned short cs;
    u64 address;
};

extern char event_entry[], native_event_entry[], failsafe_entry[], page_fault_entry[], native_page_fault_entry[];

volatile u8 shared[4096] __attribute__((aligned(4096)));
static volatile u8 ring[4096] __attribute__((aligned(4096)));
static volatile u64 lazy[64][512] __attribute__((aligned(4096)));
static u64 area[8192] __attribute__((aligned(4096)));
static const u64 *p2m;
static u32 console_port, own_port, timer_port;
static int prints, mends, sends, scans, delays;
static volatile u64 flag, counter, faults, ticks;
/* What the event handler does at each tick: asks for the next so many ns later; raises the flag in one of these ways. */
static u64 again_ns, raise_tick, raise_tick_smoothly, raise_time;
static int looks_up;
static u64 steps_of_table[16];
/* What it does instead, in a language of its own. */
static const char *program;
static volatile u64 cells[8];
static u64 set_up_at;

static inline long hypercall3(u64 nr, u64 a, u64 b, u64 c)
{
    long ret;
    __asm__ volatile("syscall" : "=a"(ret), "+D"(a), "+S"(b), "+d"(c) : "a"(nr) : "rcx", "r11", "r8", "r9", "r10", "memory");
    return ret;
}
static u64 frame_of(const volatile void *address)
{
    return p2m[((u64)address - VIRT_BASE) / PAGE_SIZE];
}
static void map(volatile void *page, u64 entry)
{
    hypercall3(UPDATE_VA_MAPPING, (u64)page, entry, 2);
}
static u64 length(const char *s)
{
    u64 n = 0;
    while (s[n])
        n++;
    return n;
}
/* By console_io. */
static void __attribute__((noinline)) print(const char *s)
{
    hypercall3(CONSOLE_IO, 0, length(s), (u64)s);
}
/* By the ring. */
static void __attribute__((noinline)) put(const char *s)
{
    volatile u32 *index = (volatile u32 *)(ring + 0xc00);
    for (; *s; s++)
        ring[1024 + index[3]++ % 2048] = *s;
    hypercall3(EVENT_CHANNEL_OP, EVTCHNOP_send, (u64)&console_port, 0);
}
static void __attribute__((noinline)) shut_down(u32 reason)
{
    hypercall3(SCHED_OP, SCHEDOP_shutdown, (u64)&reason, 0);
}
static inline u64 __attribute__((always_inline)) now(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
static void __attribute__((noinline)) touch(volatile u64 *p)
{
    *p = 1;
}

void __attribute__((noinline)) on_page_fault(void *frame)
{
    u64 address = *(volatile u64 *)(shared + 0x10); /* vcpu_info.arch.cr2 */
    faults++;
    if (prints)
        print("Oops: page fault\n");
    if (mends)
        map((void *)(address & -PAGE_SIZE), frame_of((void *)address) * PAGE_SIZE | 0x67);
}
static void __attribute__((noinline)) on_tick(void)
{
    ticks++;
    if (again_ns)
        hypercall3(SET_TIMER_OP, now() + again_ns, 0, 0);
    if (raise_tick && ticks == raise_tick)
        flag = 1;
    if (raise_tick_smoothly)
        flag |= ticks == raise_tick_smoothly;
    if (raise_time && now() >= raise_time)
        flag = 1;
    if (looks_up)
        flag |= steps_of_table[ticks & 15];
}
/* As large kernels do: port by port, masked meanwhile, until nothing has come. */
static void __attribute__((noinline)) scan(void)
{
    volatile u64 *pending = (volatile u64 *)(shared + 0x800), *mask = (volatile u64 *)(shared + 0xa00);
    do {
        shared[0] = 0;
        u64 words = __atomic_exchange_n((u64 *)(shared + 8), 0, __ATOMIC_SEQ_CST);
        for (; words; words &= words - 1) {
            u64 w = __builtin_ctzl(words), ports;
            while ((ports = pending[w] & ~mask[w])) {
                u64 bit = ports & -ports;
                __atomic_or_fetch(&mask[w], bit, __ATOMIC_SEQ_CST);
                __atomic_and_fetch(&pending[w], ~bit, __ATOMIC_SEQ_CST);
                if (w == 0 && bit == 1UL << timer_port)
                    on_tick();
                __atomic_and_fetch(&mask[w], ~bit, __ATOMIC_SEQ_CST);
            }
        }
    } while (shared[0]);
}
/* So many ns by the clock; `how` says what is done meanwhile: y yields, v asks for Xen's version. */
static void __attribute__((noinline)) delay(u64 ns, char how)
{
    u64 end = now() + ns;
    while (now() < end)
        if (how == 'y')
            hypercall3(SCHED_OP, SCHEDOP_yield, 0, 0);
        else if (how == 'v')
            hypercall3(XEN_VERSION, 0, 0, 0);
        else
            __asm__ volatile("pause");
}
/* Four letters an instruction: what to do, and cells. */
static void __attribute__((noinline)) interpret(const char *p)
{
    for (; *p > ' '; p += 4) {
        volatile u64 *a = &cells[p[1] & 7], *b = &cells[p[2] & 7], *c = &cells[p[3] & 7];
        if (*p == '+')
            *a += *b;
        else if (*p == '^')
            *a ^= *b;
        else if (*p == '=')
            *a = *b;
        else if (*p == '?')
            *a = *b == *c;
        else if (*p == '<') {
            if (*b < *c)
                *a = 1;
        } else if (*p == '@')
            *a = cells[*b & 7];
        else if (*p == 't')
            *a = now() >> 20;
        else if (*p == 'w')
            delay((*b & 7) << 10, 0);
        else if (*p == 'k') {
            if (now() >> (12 + (*b & 7)) & 1)
                *a = *c;
        } else if (*p == 'd') {
            if (now() - set_up_at >= *b << 20)
                *a = *c;
        }
        else if (*p == 'p')
            *(volatile u64 *)(shared + 0x800) = 0;
        else if (*p == 's')
            *(volatile u64 *)(shared + 8) = 0;
        else if (*p == 'u')
            shared[0] = 0;
        else if (*p == 'n')
            hypercall3(SET_TIMER_OP, now() + 1000000, 0, 0);
        else if (*p == 'y')
            hypercall3(SCHED_OP, SCHEDOP_yield, 0, 0);
    }
}
void __attribute__((noinline)) on_event(void *frame)
{
    if (program) {
        interpret(program);
        return;
    }
    if (scans) {
        scan();
        return;
    }
    volatile u64 *pending = (volatile u64 *)(shared + 0x800);
    shared[0] = 0;
    *(volatile u64 *)(shared + 8) = 0;
    *pending = 0;
    on_tick();
    if (sends)
        hypercall3(EVENT_CHANNEL_OP, EVTCHNOP_send, (u64)&own_port, 0);
}

static int begins(const char *text, const char *word)
{
    while (*word)
        if (*text++ != *word++)
            return 0;
    return 1;
}
static void set_up(const struct start_info *info)
{
    static const struct trap_info traps[] = { { 14, 4, 0xe033, (u64)page_fault_entry }, { 0 } };
    u32 virq[3] = { VIRQ_TIMER, 0, 0 }, ipi[2] = { 0, 0 };
    p2m = (const u64 *)info->mfn_list;
    map(shared, info->shared_info | 0x67);
    map(ring, info->console_mfn * PAGE_SIZE | 0x67);
    console_port = info->console_evtchn;
    hypercall3(SET_TRAP_TABLE, (u64)traps, 0, 0);
    hypercall3(SET_CALLBACKS, (u64)event_entry, (u64)failsafe_entry, 0);
    hypercall3(EVENT_CHANNEL_OP, EVTCHNOP_bind_virq, (u64)virq, 0);
    timer_port = virq[2];
    hypercall3(EVENT_CHANNEL_OP, EVTCHNOP_bind_ipi, (u64)ipi, 0);
    own_port = ipi[1];
    hypercall3(VCPU_OP, VCPUOP_stop_periodic_timer, 0, 0);
}
/* Until the timer has fired `n` times, `ns` apart. */
static void sleep(u64 n, u64 ns)
{
    u64 until = ticks + n, at = now();
    while (ticks < until) {
        hypercall3(SET_TIMER_OP, at += ns, 0, 0);
        hypercall3(SCHED_OP, SCHEDOP_block, 0, 0);
    }
}
/* A timer that fires every 4 ms: on its own, or as its handler asks for it. */
static void tick(int periodic)
{
    u64 period = 4000000;
    if (periodic)
        hypercall3(VCPU_OP, VCPUOP_set_periodic_timer, 0, (u64)&period);
    else
        hypercall3(SET_TIMER_OP, now() + (again_ns = period), 0, 0);
    shared[1] = 0;
}
static void yield(void)
{
    hypercall3(SCHED_OP, SCHEDOP_yield, 0, 0);
}
/* Beside a timer; the letters behind say how: p periodic, s by port, n returns by IRETQ, d delays between looks at the flag. */
static void beside_timer(const char *how)
{
    int periodic = 0;
    for (; *how && *how != ' '; how++) {
        periodic |= *how == 'p';
        scans |= *how == 's';
        delays |= *how == 'd';
        if (*how == 'n')
            hypercall3(SET_CALLBACKS, (u64)native_event_entry, (u64)failsafe_entry, 0);
    }
    tick(periodic);
}
static void __attribute__((noinline)) checksum(u64 n)
{
    u64 sum = 0, i;
    while (n--)
        for (i = 0; i < 8192; i++)
            sum = (sum << 1 | sum >> 63) ^ (area[i] + i);
    flag = sum;
}
static void __attribute__((noinline)) verify(u64 n)
{
    u64 i;
    while (n--)
        for (i = 0; i < 8192; i++)
            if (((volatile u64 *)area)[i] != 0)
                print("bad memory\n");
}

void kernel_main(const struct start_info *info)
{
    const char *way = info->cmd_line, *c;
    u64 n = 0, i;
    for (c = way; *c; c++)
        if (*c >= '0' && *c <= '9')
            n = n * 10 + *c - '0';
    set_up(info);

    if (begins(way, "native-")) { /* the handler returns by IRETQ */
        static const struct trap_info traps[] = { { 14, 4, 0xe033, (u64)native_page_fault_entry }, { 0 } };
        hypercall3(SET_TRAP_TABLE, (u64)traps, 0, 0);
        way += 7;
    }

    /* nowhere */
    if (begins(way, "refault"))
        touch((u64 *)0x5000);
    if (begins(way, "oops")) {
        prints = 1;
        touch((u64 *)0x5000);
    }
    if (begins(way, "storm")) {
        sends = 1;
        shared[1] = 0;
        hypercall3(EVENT_CHANNEL_OP, EVTCHNOP_send, (u64)&own_port, 0);
    }
    if (begins(way, "yield"))
        while (!flag)
            hypercall3(SCHED_OP, SCHEDOP_yield, 0, 0);
    if (begins(way, "spin"))
        while (!flag)
            __asm__ volatile("pause");
    if (begins(way, "count"))
        for (;;) {
            counter++;
            __asm__ volatile("pause");
        }
    if (begins(way, "watch"))
        for (;;)
            counter = now();
    if (begins(way, "sum"))
        for (;;)
            for (i = 0; i < 100; i++)
                flag += area[i] ^ flag << 1;
    if (begins(way, "say"))
        for (;;)
            print("again\n");
    if (begins(way, "poll"))
        while (!flag)
            delay(n, way[4] == '-' ? way[5] : 0);
    /* somewhere, by and by */
    if (begins(way, "tries"))
        for (counter = 0; !flag && counter < n; counter++)
            delay(1000, way[5] == '-' ? way[6] : 0);
    if (begins(way, "late"))
        delay(n, way[4] == '-' ? way[5] : 0);
    if (begins(way, "lazy")) {
        mends = 1;
        for (i = 0; i < n; i++) {
            map(lazy[i % 64], 0);
            touch(lazy[i % 64]);
        }
    }
    if (begins(way, "again")) {
        mends = 1;
        for (counter = 0; counter < n; counter++) {
            map(lazy[0], 0);
            touch(lazy[0]);
        }
    }
    if (begins(way, "tell"))
        for (i = 0; i < n; i++)
            print("again\n");
    if (begins(way, "write")) /* another line each time, for the same length */
        for (i = 0; i < n; i++) {
            char line[] = "line 0\n";
            line[5] += i & 7;
            print(line);
        }
    if (begins(way, "delay"))
        for (i = 0; i < n; i++)
            __asm__ volatile("pause");
    if (begins(way, "memory-delay"))
        while (counter < n) {
            counter++;
            __asm__ volatile("pause");
        }
    if (begins(way, "clock"))
        for (i = now() + n; now() < i;)
            __asm__ volatile("pause");
    if (begins(way, "checksum"))
        checksum(n);
    if (begins(way, "verify"))
        verify(n);
    if (begins(way, "wait")) {
        shared[1] = 0;
        hypercall3(SET_TIMER_OP, now() + n, 0, 0);
        while (!*(volatile u64 *)&ticks)
            __asm__ volatile("pause");
    }
    if (begins(way, "tick-")) {
        const char *to = way + 5;
        while (*to && *to != ' ' && *to != '-')
            to++;
        way += 5;
        if (begins(way, "raise"))
            raise_tick = n;
        if (begins(way, "smooth"))
            raise_tick_smoothly = n;
        if (begins(way, "time"))
            raise_time = now() + n;
        if (begins(way, "table")) {
            looks_up = 1;
            steps_of_table[n] = 1;
        }
        beside_timer(to);
        if (begins(way, "until"))
            while (ticks < n)
                __asm__ volatile("pause");
        else if (begins(way, "clock"))
            for (i = now() + n; now() < i;)
                yield();
        else if (begins(way, "yield"))
            while (!flag)
                yield();
        else if (begins(way, "block"))
            while (!flag)
                hypercall3(SCHED_OP, SCHEDOP_block, 0, 0);
        else if (delays)
            while (!flag)
                delay(100000, 0);
        else
            while (!flag)
                __asm__ volatile("pause");
    }
    if (begins(way, "mix ")) { /* p periodic, s by set_timer, q no timer; the handler's program, the loop's; until a cell is set */
        u64 period = 1000000;
        for (i = 0; i < 8; i++)
            cells[i] = i;
        program = way + 6;
        for (c = program; *c != ' '; c++)
            ;
        if (way[4] == 'p')
            hypercall3(VCPU_OP, VCPUOP_set_periodic_timer, 0, (u64)&period);
        else if (way[4] == 's')
            hypercall3(SET_TIMER_OP, now() + period, 0, 0);
        shared[1] = 0;
        set_up_at = now();
        while (!cells[0])
            interpret(c + 1);
    }
    if (begins(way, "sleep"))
        sleep(1, n);
    if (begins(way, "timers"))
        sleep(n, 1000000000);
    /* what they say */
    if (begins(way, "quote"))
        print("pstore: last boot said: Kernel panic - not syncing: Attempted to kill init!\ntest 12 of 12 passed\n");
    if (begins(way, "die")) {
        print("panic: no root\n");
        shut_down(begins(way, "die-reboot") ? SHUTDOWN_reboot : SHUTDOWN_poweroff);
    }
    if (begins(way, "twice")) {
        print("early line\nsecond line\n");
        put("early line\nsecond line\nthird line\n");
    }
    put("done\n");
    shut_down(SHUTDOWN_poweroff);
}
