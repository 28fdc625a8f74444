/* What the kernels of `why` share: types, hypercalls, the console, frames and page tables, the trap table. */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
#define PAGE 4096UL
#define BASE 0xffffffff80000000UL
#define FN __attribute__((noipa))
#define PAGED __attribute__((aligned(4096)))

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
struct trap_info { u8 vector, flags; u16 cs; u64 address; };
struct mmuext_op { u32 cmd; u64 arg1, arg2; };
struct mmu_update { u64 ptr, val; };
struct regs { u64 r15, r14, r13, r12, r10, r9, r8, rbp, rdi, rsi, rdx, rbx, rax, vector, rcx, r11, error, rip, cs, rflags, rsp, ss; };

enum { SET_TRAP_TABLE = 0, MMU_UPDATE = 1, SET_GDT = 2, STACK_SWITCH = 3, SET_CALLBACKS = 4, UPDATE_VA = 14, SET_TIMER = 15, CONSOLE_IO = 18, IRET = 23, MMUEXT = 26, SCHED = 29, EVTCHN = 32 };
#define SELF 0x7ff0

static const u64 *p2m;
static const struct start_info *boot_info;

static inline long hypercall(u64 number, u64 a, u64 b, u64 c, u64 d)
{
    long result;
    register u64 r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : "a"(number) : "rcx", "r11", "r8", "r9", "memory");
    return result;
}
static inline u64 mfn_of(const volatile void *p) { return p2m[((u64)p - BASE) / PAGE]; }
static inline long map_page(volatile void *page, u64 frame, u64 flags) { return hypercall(UPDATE_VA, (u64)page, frame * PAGE | flags, 2, 0); }
static FN void say(const char *s)
{
    u64 n = 0;
    while (s[n]) n++;
    hypercall(CONSOLE_IO, 0, n, (u64)s, 0);
}
static FN __attribute__((unused)) void say_hex(u64 value)
{
    char text[18];
    int i;
    for (i = 0; i < 16; i++) text[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    text[16] = '\n';
    text[17] = 0;
    say(text);
}
static FN __attribute__((unused)) void leave(u32 reason) { hypercall(SCHED, 2, (u64)&reason, 0, 0); }
#define POWEROFF 0
#define REBOOT 1
#define CRASH 3
static FN __attribute__((unused)) void work(u64 rounds) { volatile u64 i; for (i = 0; i < rounds; i++); }

extern char divide_entry[], breakpoint_entry[], opcode_entry[], protection_entry[], page_fault_entry[];
static __attribute__((unused)) struct trap_info trap_table[8];
static FN __attribute__((unused)) void set_traps(void)
{
    trap_table[0] = (struct trap_info){ 0, 0, 0xe033, (u64)divide_entry };
    trap_table[1] = (struct trap_info){ 3, 3, 0xe033, (u64)breakpoint_entry };
    trap_table[2] = (struct trap_info){ 6, 0, 0xe033, (u64)opcode_entry };
    trap_table[3] = (struct trap_info){ 13, 0, 0xe033, (u64)protection_entry };
    trap_table[4] = (struct trap_info){ 14, 0, 0xe033, (u64)page_fault_entry };
    hypercall(SET_TRAP_TABLE, (u64)trap_table, 0, 0, 0);
}
static inline void begin(const struct start_info *info, const char *name)
{
    boot_info = info;
    p2m = (const u64 *)info->mfn_list;
    say(name);
    say(": booting\n");
}
