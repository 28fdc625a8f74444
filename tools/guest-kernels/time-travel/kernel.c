/*
 * A small Xen PV kernel for tests of time travel: in each of its rounds it does a little of everything that a replay, a
 * snapshot or a step back could get wrong.
 *
 *   code that rewrites itself        single steps under TF, breakpoints      page faults that a handler mends
 *   page-table updates               REP over pages                          x87 and SSE arithmetic
 *   timers, blocking, events         console output by ring and console_io   input from the console, echoed
 *
 * The command line says how many rounds (`rounds=20`) and how much plain work each has (`work=1000`). It powers off after
 * the last round, or blocks for input until a `q` is typed when the command line has `wait`.
 */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define PAGE_SIZE 4096UL
#define PTE_PRESENT 0x067UL /* P W U A D */
#define PTE_W 0x002UL

#define SET_TRAP_TABLE 0
#define SET_CALLBACKS 4
#define UPDATE_VA_MAPPING 14
#define SET_TIMER_OP 15
#define CONSOLE_IO 18
#define VCPU_OP 24
#define SCHED_OP 29
#define EVENT_CHANNEL_OP 32
#define VCPUOP_stop_periodic_timer 7
#define SCHEDOP_block 1
#define SCHEDOP_shutdown 2
#define EVTCHNOP_bind_virq 1
#define EVTCHNOP_send 4
#define EVTCHNOP_unmask 9
#define VIRQ_TIMER 0
#define FLAT_CS 0xe033
#define TF 0x100UL

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
struct frame {
    u64 rcx, r11, rip, cs, rflags, rsp, ss;
};
struct fault_frame {
    u64 rcx, r11, error, rip, cs, rflags, rsp, ss;
};

extern char event_entry[], failsafe_entry[], debug_entry[], breakpoint_entry[], page_fault_entry[];

static volatile u8 shared[4096] __attribute__((aligned(4096)));
static volatile u8 ring[4096] __attribute__((aligned(4096)));
static u8 guarded[4096] __attribute__((aligned(4096)));
static u8 area[64 * 4096] __attribute__((aligned(4096)));
static u8 patched[4096] __attribute__((aligned(4096))) = { 0xb8, 0, 0, 0, 0, 0xc3 };
static const u64 *p2m;
static u32 console_port, timer_port;
static volatile u64 timer_events, steps_seen, breakpoints, faults, finished, sum;

static inline long hypercall4(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
    long ret;
    register u64 r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : "a"(nr) : "rcx", "r11", "r8", "r9", "memory");
    return ret;
}
static u64 frame_of(const volatile void *address)
{
    return p2m[((u64)address - 0xffffffff80000000UL) / PAGE_SIZE];
}
static void map(volatile void *page, u64 frame, u64 flags)
{
    hypercall4(UPDATE_VA_MAPPING, (u64)page, frame * PAGE_SIZE | flags, 2, 0);
}

/* ---- console ---- */

static void notify(void)
{
    u32 send = console_port;
    hypercall4(EVENT_CHANNEL_OP, EVTCHNOP_send, (u64)&send, 0, 0);
}
static void put(char c)
{
    volatile u32 *index = (volatile u32 *)(ring + 0xc00);
    while (index[3] - index[2] >= 2048)
        notify();
    ring[1024 + index[3] % 2048] = c;
    index[3]++;
}
static void print(const char *text)
{
    while (*text)
        put(*text++);
    notify();
}
static void print_number(u64 value)
{
    char text[24];
    int at = 23;
    text[at] = 0;
    do
        text[--at] = '0' + value % 10;
    while (value /= 10);
    print(text + at);
}
static void take_input(void)
{
    volatile u32 *index = (volatile u32 *)(ring + 0xc00);
    while (index[0] != index[1]) {
        char c = ring[index[0] % 1024];
        index[0]++;
        put(c);
        sum = sum * 31 + c;
        if (c == 'q')
            finished = 1;
    }
    notify();
}

/* ---- events and traps ---- */

void on_event(void)
{
    volatile u64 *pending = (volatile u64 *)(shared + 0x800);
    shared[0] = 0;
    *(volatile u64 *)(shared + 8) = 0;
    while (*pending) {
        u64 port = __builtin_ctzl(*pending);
        __asm__ volatile("lock btrq %1, %0" : "+m"(*pending) : "r"(port) : "cc");
        if (port == timer_port)
            timer_events++;
        if (port == console_port)
            take_input();
    }
}
void on_debug(struct frame *frame)
{
    if (++steps_seen % 16 == 0)
        frame->rflags &= ~TF;
}
void on_breakpoint(struct frame *frame)
{
    breakpoints++;
    sum += frame->rip;
}
void on_page_fault(void)
{
    faults++;
    map(guarded, frame_of(guarded), PTE_PRESENT);
}

/* ---- the work of a round ---- */

static void scatter(u64 work)
{
    static u64 seed = 1;
    u64 i;
    for (i = 0; i < work; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        *(u64 *)(area + (seed >> 40) % (sizeof(area) - 8)) += seed ^ sum;
        if (seed >> 63)
            sum += seed >> 7;
        else
            sum ^= i * 3;
    }
}
static void rewrite(u32 round)
{
    u32 i;
    for (i = 0; i < 8; i++) {
        *(volatile u32 *)(patched + 1) = round * 8 + i;
        sum += ((u32(*)(void))patched)();
    }
}
static void trace(void)
{
    u64 x = sum;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
                     "addq $7, %0; rolq $13, %0; mulq %0; addq %%rdx, %0; pushq %0; popq %0\n"
                     "addq $1, %0; addq $2, %0; addq $3, %0; addq $4, %0; addq $5, %0\n"
                     "xorq $6, %0; xorq $9, %0; addq $3, %0; addq $4, %0; addq $5, %0; nop; nop; nop"
                     : "+a"(x) : : "rdx", "memory", "cc");
    sum = x;
}
static void blocks_of_memory(u32 round)
{
    u64 count = 3000 + round % 7;
    void *to = area + 8192 - 100 + round % 50, *from = area + 20000;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    to = area + 30000;
    count = 500;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(sum) : "memory");
}
static void floating(u32 round)
{
    double x = round + 0.5, y = 0;
    __asm__ volatile("fldl %1; fsqrt; fldl %1; fmulp; fstpl %0" : "=m"(y) : "m"(x));
    __asm__ volatile("sqrtsd %1, %%xmm3; addsd %%xmm3, %%xmm5; paddq %%xmm5, %%xmm7" : : "x"(y), "m"(x) : "xmm3", "xmm5", "xmm7");
    sum += (u64)(y * 1000);
}
static void sleep(void)
{
    u32 low, high;
    u64 now, before = timer_events;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    now = (u64)high << 32 | low;
    hypercall4(SET_TIMER_OP, now + 20000, 0, 0, 0);
    while (timer_events == before)
        hypercall4(SCHED_OP, SCHEDOP_block, 0, 0, 0);
    sum += now;
}

static u64 option(const char *line, const char *name, u64 otherwise)
{
    for (; *line; line++) {
        const char *a = line, *b = name;
        u64 value = 0;
        while (*b && *a == *b)
            a++, b++;
        if (*b)
            continue;
        if (*a != '=')
            return 1;
        for (a++; *a >= '0' && *a <= '9'; a++)
            value = value * 10 + *a - '0';
        return value;
    }
    return otherwise;
}
static void set_up(const struct start_info *info)
{
    static struct trap_info traps[4];
    struct { u32 virq, vcpu, port; } bind = { VIRQ_TIMER, 0, 0 };
    u32 port;
    p2m = (const u64 *)info->mfn_list;
    map(shared, info->shared_info / PAGE_SIZE, PTE_PRESENT);
    map(ring, info->console_mfn, PTE_PRESENT);
    console_port = info->console_evtchn;
    traps[0] = (struct trap_info){ 1, 0, FLAT_CS, (u64)debug_entry };
    traps[1] = (struct trap_info){ 3, 3, FLAT_CS, (u64)breakpoint_entry };
    traps[2] = (struct trap_info){ 14, 4, FLAT_CS, (u64)page_fault_entry };
    hypercall4(SET_TRAP_TABLE, (u64)traps, 0, 0, 0);
    hypercall4(SET_CALLBACKS, (u64)event_entry, (u64)failsafe_entry, 0, 0);
    hypercall4(EVENT_CHANNEL_OP, EVTCHNOP_bind_virq, (u64)&bind, 0, 0);
    timer_port = bind.port;
    port = timer_port;
    hypercall4(EVENT_CHANNEL_OP, EVTCHNOP_unmask, (u64)&port, 0, 0);
    port = console_port;
    hypercall4(EVENT_CHANNEL_OP, EVTCHNOP_unmask, (u64)&port, 0, 0);
    shared[1] = 0;
}

void kernel_main(const struct start_info *info)
{
    static const char hello[] = "time-travel: hello\n";
    u64 rounds = option(info->cmd_line, "rounds", 20), work = option(info->cmd_line, "work", 1000), round;
    u32 reason = 0;
    hypercall4(CONSOLE_IO, 0, sizeof(hello) - 1, (u64)hello, 0);
    set_up(info);
    for (round = 0; round < rounds && !finished; round++) {
        scatter(work);
        rewrite(round);
        trace();
        __asm__ volatile("int3");
        map(guarded, frame_of(guarded), PTE_PRESENT & ~PTE_W);
        guarded[round % 4096]++;
        blocks_of_memory(round);
        floating(round);
        sleep();
        if (round % 5 == 0) {
            print("round ");
            print_number(round);
            print(" sum ");
            print_number(sum);
            print("\n");
        }
    }
    /* Xen's periodic timer would go on waking us. */
    if (option(info->cmd_line, "wait", 0))
        hypercall4(VCPU_OP, VCPUOP_stop_periodic_timer, 0, 0, 0);
    while (option(info->cmd_line, "wait", 0) && !finished)
        hypercall4(SCHED_OP, SCHEDOP_block, 0, 0, 0);
    print("time-travel: ");
    print_number(timer_events);
    print(" timers, ");
    print_number(steps_seen);
    print(" single steps, ");
    print_number(breakpoints);
    print(" breakpoints, ");
    print_number(faults);
    print(" faults\n");
    hypercall4(SCHED_OP, SCHEDOP_shutdown, (u64)&reason, 0, 0);
}
