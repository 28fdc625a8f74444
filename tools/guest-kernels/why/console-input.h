/* What is typed, out of the console's ring. */
struct ring { char in[1024], out[2048]; u32 in_cons, in_prod, out_cons, out_prod; };
static volatile struct ring *console;

static FN void find_console(void)
{
    for (u64 pfn = 0; pfn < boot_info->nr_pages; pfn++)
        if (p2m[pfn] == boot_info->console_mfn) console = (volatile struct ring *)(BASE + pfn * PAGE);
}
static FN char next_char(void)
{
    u32 port = boot_info->console_evtchn;
    struct { u32 *ports; u32 count, pad; u64 timeout; } poll = { &port, 1, 0, 0 };
    while (console->in_cons == console->in_prod) hypercall(SCHED, 3, (u64)&poll, 0, 0);
    char c = console->in[console->in_cons & 1023];
    console->in_cons++;
    return c;
}
