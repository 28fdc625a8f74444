/* Probes fault and are fixed up before and after the store that matters; the death is a jump through the word that it cleared. */
#include "prelude.h"
static struct { void (*tick)(void); void (*idle)(void); u64 count; } hooks;
static u64 probed, fixups;
extern char after_probe[];

static void default_hook(void) { hooks.count++; }
static FN void probe(u64 address)
{
    __asm__ volatile("movq (%0), %%rax\n.globl after_probe\nafter_probe: nop" : : "r"(address) : "rax", "memory");
}
FN void on_trap(struct regs *r, u64 vector)
{
    if (vector == 14 && r->error == 0 && fixups < 6) { fixups++; r->rip = (u64)after_probe; return; }
    say("fatal trap\n");
    leave(CRASH);
}
static FN void install_hooks(void)
{
    hooks.tick = default_hook;
    hooks.idle = default_hook;
}
static FN void remove_hook(void (**slot)(void)) { *slot = 0; }
static FN void probe_all(u64 first)
{
    for (u64 i = 0; i < 3; i++) probe(first + i * 0x100000);
    probed += 3;
}
static FN void run_hooks(void) { hooks.idle(); hooks.tick(); }
void kernel_main(const struct start_info *info)
{
    begin(info, "decoys");
    set_traps();
    install_hooks();
    probe_all(0x40000000);
    run_hooks();
    remove_hook(&hooks.tick);
    probe_all(0x50000000);
    work(1000);
    run_hooks();
    leave(POWEROFF);
}
