/*
 * A small Xen PV kernel that dies the way a real one did in August 2016 (story S01): a W^X clean-up of early page-table
 * set-up maps everything between the end of the text and the end of memory writable, and forgets that one page in
 * between already belongs to Xen as a descriptor table.
 *
 *   1. load_descriptors() gives the page `gdt` to Xen: read-only from now on.
 *   2. build_tables() writes a fresh set of page tables. map_image() chooses the protection of each page, and for the page
 *      of `gdt` it chooses wrongly. Nothing complains: the new tables are only memory so far.
 *   3. activate_tables() asks Xen to pin the new tables. Xen walks them, finds a writable mapping of a descriptor page, refuses.
 *   4. The kernel gives up with a breakpoint, but has no trap table yet: Xen crashes the domain.
 *
 * What the user sees is step 4. What is wrong is one store in step 2.
 */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;

#define PAGE_SIZE 4096UL
#define VIRT_BASE 0xffffffff80000000UL
#define PTE_P 0x001UL
#define PTE_W 0x002UL
#define PTE_U 0x004UL
#define PTE_A 0x020UL
#define PTE_D 0x040UL
#define PTE_FRAME 0x000ffffffffff000UL

#define SET_GDT 2
#define UPDATE_VA_MAPPING 14
#define CONSOLE_IO 18
#define MMUEXT_OP 26
#define PIN_L4_TABLE 3
#define NEW_BASEPTR 5
#define DOMID_SELF 0x7ff0UL

struct start_info {
    char magic[32];
    u64 nr_pages, shared_info;
    u32 flags;
    u64 store_mfn;
    u32 store_evtchn;
    u64 console_mfn;
    u32 console_evtchn;
    u64 pt_base, nr_pt_frames, mfn_list;
};
struct mmuext_op {
    u32 cmd;
    u64 arg1, arg2;
};

extern char __text_start[], __text_end[], __image_end[];

static const struct start_info *start_info;
static const u64 *p2m;

/* The descriptor table page, and the pages of the new tables. */
static u64 gdt[512] __attribute__((aligned(4096)));
static u64 new_l4[512] __attribute__((aligned(4096)));
static u64 new_l3[512] __attribute__((aligned(4096)));
static u64 new_l2[512] __attribute__((aligned(4096)));
static u64 new_l1[8][512] __attribute__((aligned(4096)));

static inline long hypercall4(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
    long ret;
    register u64 r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : "a"(nr) : "rcx", "r11", "r8", "r9", "memory");
    return ret;
}

static u64 length(const char *s)
{
    u64 n = 0;
    while (s[n])
        n++;
    return n;
}

void __attribute__((noinline)) print(const char *s)
{
    hypercall4(CONSOLE_IO, 0, length(s), (u64)s, 0);
}

static void print_number(long value)
{
    char text[24];
    int at = 23;
    u64 left = value < 0 ? -value : value;
    text[at] = 0;
    do
        text[--at] = '0' + left % 10;
    while (left /= 10);
    if (value < 0)
        text[--at] = '-';
    print(text + at);
}

void __attribute__((noinline, noreturn)) panic(const char *what, long error)
{
    print("panic: ");
    print(what);
    print(" failed: ");
    print_number(error);
    print("\n");
    for (;;)
        __asm__ volatile("int3");
}

static u64 pfn_of(const void *address)
{
    return ((u64)address - VIRT_BASE) / PAGE_SIZE;
}
static u64 mfn_of(const void *address)
{
    return p2m[pfn_of(address)];
}
static u64 entry(u64 mfn, u64 flags)
{
    return mfn * PAGE_SIZE | PTE_P | PTE_A | flags;
}

/* Makes a page of the image read-only in the tables that Xen's builder gave us. */
static void make_read_only(const void *page)
{
    long error = hypercall4(UPDATE_VA_MAPPING, (u64)page, entry(mfn_of(page), PTE_U), 2, 0);
    if (error)
        panic("update_va_mapping", error);
}

/* Step 1: two flat segments, and the page goes to Xen. */
void __attribute__((noinline)) load_descriptors(void)
{
    u64 frame = mfn_of(gdt);
    long error;
    gdt[1] = 0x00af9b000000ffffUL;
    gdt[2] = 0x00cf93000000ffffUL;
    make_read_only(gdt);
    error = hypercall4(SET_GDT, (u64)&frame, 512, 0, 0);
    if (error)
        panic("set_gdt", error);
    print("descriptor table loaded\n");
}

static int is_table(u64 page)
{
    return (page >= (u64)new_l4 && page < (u64)new_l4 + PAGE_SIZE) || (page >= (u64)new_l3 && page < (u64)new_l3 + PAGE_SIZE) ||
           (page >= (u64)new_l2 && page < (u64)new_l2 + PAGE_SIZE) || (page >= (u64)new_l1 && page < (u64)new_l1 + sizeof(new_l1)) ||
           (page >= start_info->pt_base && page < start_info->pt_base + start_info->nr_pt_frames * PAGE_SIZE);
}

/* Step 2: W^X. Text stays read-only, tables have to, everything else is data. (So is, alas, the descriptor table.) */
void __attribute__((noinline)) map_image(u64 pages)
{
    u64 pfn;
    for (pfn = 0; pfn < pages; pfn++) {
        u64 page = VIRT_BASE + pfn * PAGE_SIZE;
        u64 flags = PTE_U;
        if (!(page >= (u64)__text_start && page < (u64)__text_end) && !is_table(page))
            flags |= PTE_W | PTE_D;
        new_l1[pfn / 512][pfn % 512] = entry(p2m[pfn], flags);
    }
}

void __attribute__((noinline)) build_tables(void)
{
    u64 pages = start_info->nr_pages, i;
    if (pages > 8 * 512)
        pages = 8 * 512;
    map_image(pages);
    for (i = 0; i < 8; i++)
        new_l2[i] = entry(mfn_of(new_l1[i]), PTE_U | PTE_W);
    new_l3[510] = entry(mfn_of(new_l2), PTE_U | PTE_W);
    new_l4[511] = entry(mfn_of(new_l3), PTE_U | PTE_W);
    make_read_only(new_l4);
    make_read_only(new_l3);
    make_read_only(new_l2);
    for (i = 0; i < 8; i++)
        make_read_only(new_l1[i]);
    print("new page tables built\n");
}

/* Step 3: from here on the new tables count. */
void __attribute__((noinline)) activate_tables(void)
{
    struct mmuext_op pin = { PIN_L4_TABLE, mfn_of(new_l4), 0 };
    struct mmuext_op base = { NEW_BASEPTR, mfn_of(new_l4), 0 };
    long error = hypercall4(MMUEXT_OP, (u64)&pin, 1, 0, DOMID_SELF);
    if (error)
        panic("pinning the new page tables", error);
    error = hypercall4(MMUEXT_OP, (u64)&base, 1, 0, DOMID_SELF);
    if (error)
        panic("switching to the new page tables", error);
}

void kernel_main(const struct start_info *info)
{
    start_info = info;
    p2m = (const u64 *)info->mfn_list;
    print("failing-boot: hello from ring 3 of Xen\n");
    load_descriptors();
    build_tables();
    activate_tables();
    print("failing-boot: up\n");
    for (;;)
        hypercall4(29, 1, 0, 0, 0);
}
