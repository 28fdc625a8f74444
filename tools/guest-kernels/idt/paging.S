/* Page faults: error codes, CR2, accessed and dirty bits, accesses that cross pages, string instructions that fault on the way. */
#define BITS 64
#include "prelude.h"

#define PAGE(n) (WINDOW + (n) * 4096)
#define HIGH_NX 0x80000000

/* Page `index` of the window is page `frame` of the arena. */
.macro MAP index, frame, bits, high=0
    movl $(arena + (\frame) * 4096 + (\bits)), window_table + (\index) * 8
    movl $(\high), window_table + (\index) * 8 + 4
    invlpg PAGE(\index)
.endm
.macro UNMAP index
    movl $0, window_table + (\index) * 8
    invlpg PAGE(\index)
.endm
/* The attribute bits of an entry. */
.macro SHOW_ENTRY label, index
    mov window_table + (\index) * 8, %eax
    and $0xfff, %eax
    SHOW "\label", %rax
.endm
.macro REGISTERS
    SHOW "cx", saved + 8
    SHOW "si", saved + 24
    SHOW "di", saved + 32
.endm

main:
    mov $0xc0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr

    TRY "read absent"
    mov PAGE(0), %eax
    DONE
    TRY "write absent"
    mov %eax, PAGE(0) + 0x123
    DONE
    TRY "rmw absent"
    lock incl PAGE(0) + 0x10
    DONE
    TRY "fetch absent"
    mov $PAGE(0) + 5, %eax
    jmp *%rax
    DONE
    TRY "write read-only"
    MAP 0, 0, PTE_P
    mov %eax, PAGE(0)
    DONE
    SHOW_ENTRY "pte", 0
    TRY "cmpxchg read-only that differs"
    movl $1, arena
    xor %eax, %eax
    lock cmpxchg %ecx, PAGE(0)
    DONE
    TRY "write read-only without WP"
    mov %cr0, %rbx
    mov %rbx, %rax
    btr $16, %eax
    mov %rax, %cr0
    FLAGS 2
    movl $7, PAGE(0)
    mov %rbx, %cr0
    SHOW "value", arena
    DONE
    SHOW_ENTRY "pte", 0
    TRY "fetch no-execute"
    MAP 0, 0, PTE_P | PTE_W, HIGH_NX
    movb $0xc3, arena
    mov $PAGE(0), %eax
    call *%rax
    DONE
    TRY "fetch executable"
    MAP 0, 0, PTE_P
    mov $PAGE(0), %eax
    call *%rax
    DONE
    SHOW_ENTRY "pte", 0
    TRY "reserved address bit"
    MAP 0, 0, PTE_P, 0x00080000
    mov PAGE(0), %eax
    DONE
    TRY "reserved address bit, write"
    mov %eax, PAGE(0)
    DONE
    TRY "reserved bit of a large page"
    movl $0x2087, window_directory + 8
    mov WINDOW + 0x200000, %eax
    DONE
    TRY "NX while NXE is off"
    MAP 0, 0, PTE_P, HIGH_NX
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x800, %eax
    wrmsr
    FLAGS 2
    mov PAGE(0), %eax
    DONE
    TRY "fetch absent while NXE is off"
    UNMAP 0
    FLAGS 2
    mov $PAGE(0), %eax
    jmp *%rax
    DONE
    mov $0xc0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr

    TRY "user reads supervisor"
    MAP 0, 0, PTE_P | PTE_W
    USER
    mov PAGE(0), %eax
    BACK
    SHOW_ENTRY "pte", 0
    TRY "user writes supervisor"
    USER
    mov %eax, PAGE(0)
    BACK
    TRY "user writes read-only"
    MAP 0, 0, PTE_P | PTE_U
    USER
    mov %eax, PAGE(0)
    BACK
    TRY "user reads absent"
    UNMAP 1
    USER
    mov PAGE(1), %eax
    BACK
    TRY "user writes absent"
    USER
    mov %eax, PAGE(1)
    BACK
    TRY "user fetches no-execute"
    MAP 1, 0, PTE_P | PTE_U, HIGH_NX
    USER
    mov $PAGE(1), %eax
    jmp *%rax
    BACK
    TRY "user fetches supervisor"
    MAP 1, 0, PTE_P
    USER
    mov $PAGE(1), %eax
    jmp *%rax
    BACK
    TRY "user bit missing in the directory"
    MAP 1, 0, PTE_P | PTE_U | PTE_W
    andb $~4, window_directory
    invlpg PAGE(1)
    USER
    mov PAGE(1), %eax
    BACK
    orb $4, window_directory
    TRY "write bit missing in the directory"
    andb $~2, window_directory
    invlpg PAGE(1)
    mov %eax, PAGE(1)
    DONE
    orb $2, window_directory
    TRY "no-execute in the directory"
    movl $HIGH_NX, window_directory + 4
    invlpg PAGE(1)
    mov $PAGE(1), %eax
    jmp *%rax
    DONE
    movl $0, window_directory + 4
    TRY "absent directory"
    mov WINDOW + 0x400000, %eax
    DONE
    TRY "absent directory pointer"
    mov %eax, 0x7fffffff
    DONE
    TRY "absent root entry"
    movabs $0x123456789abc, %rbx
    mov %al, (%rbx)
    DONE
    TRY "absent high half"
    mov $-8, %rbx
    mov (%rbx), %rax
    DONE

    TRY "accessed and dirty bits"
    MAP 0, 0, PTE_P | PTE_W | PTE_U
    andb $~0x60, window_directory
    invlpg PAGE(0)
    SHOW_ENTRY "before", 0
    mov PAGE(0), %eax
    SHOW_ENTRY "read", 0
    mov window_directory, %eax
    and $0xfff, %eax
    SHOW "directory", %rax
    mov %eax, PAGE(0)
    SHOW_ENTRY "written", 0
    DONE
    TRY "a failed write sets no dirty bit"
    MAP 0, 0, PTE_P
    mov %eax, PAGE(0)
    DONE
    mov window_table, %eax
    and $PTE_D, %eax
    SHOW "dirty", %rax
    TRY "cmpxchg that differs sets the dirty bit"
    MAP 0, 0, PTE_P | PTE_W
    movl $1, arena
    xor %eax, %eax
    lock cmpxchg %ecx, PAGE(0)
    DONE
    SHOW_ENTRY "pte", 0
    TRY "shift by zero"
    MAP 0, 0, PTE_P | PTE_W
    xor %ecx, %ecx
    shll %cl, PAGE(0)
    DONE
    TRY "cmov that does not move reads all the same"
    UNMAP 0
    cmp %eax, %eax
    cmovne PAGE(0), %eax
    DONE
    TRY "prefetch and invlpg of an absent page"
    prefetcht0 PAGE(0)
    invlpg PAGE(0)
    DONE
    TRY "nop with an absent operand"
    nopl PAGE(0)
    DONE
    TRY "dirty bit of a large page"
    movl $0x00000087, window_directory + 8
    mov WINDOW + 0x200000 + 0x100000, %eax
    SHOW "read", window_directory + 8
    mov %eax, WINDOW + 0x200000 + 0x100000
    SHOW "written", window_directory + 8
    DONE

    TRY "read across, second absent"
    MAP 0, 0, PTE_P | PTE_W
    UNMAP 1
    mov PAGE(1) - 3, %rax
    DONE
    SHOW_ENTRY "pte", 0
    TRY "read across, both absent"
    UNMAP 0
    mov PAGE(1) - 3, %rax
    DONE
    TRY "read across, first absent"
    MAP 1, 1, PTE_P | PTE_W
    mov PAGE(1) - 3, %rax
    DONE
    TRY "write across, second absent"
    MAP 0, 0, PTE_P | PTE_W
    UNMAP 1
    movq $0, arena + 4088
    mov $-1, %rax
    mov %rax, PAGE(1) - 3
    DONE
    SHOW "value", arena + 4088
    TRY "write across, second read-only"
    MAP 1, 1, PTE_P
    mov $-1, %rax
    mov %rax, PAGE(1) - 3
    DONE
    SHOW "value", arena + 4088
    TRY "write across"
    MAP 1, 1, PTE_P | PTE_W
    mov $-1, %rax
    mov %rax, PAGE(1) - 3
    DONE
    SHOW "first", arena + 4088
    SHOW "second", arena + 4096
    SHOW_ENTRY "pte0", 0
    SHOW_ENTRY "pte1", 1
    TRY "rmw across, second absent"
    UNMAP 1
    lock addl $1, PAGE(1) - 2
    DONE
    SHOW "value", arena + 4088
    TRY "movups across, second absent"
    movups PAGE(1) - 8, %xmm0
    DONE
    TRY "movups store across, second absent"
    xorps %xmm0, %xmm0
    movups %xmm0, PAGE(1) - 8
    DONE
    SHOW "value", arena + 4088
    TRY "x87 store across, second absent"
    fldz
    fstpt PAGE(1) - 8
    DONE
    SHOW "value", arena + 4088
    fninit
    TRY "fxsave across, second absent"
    movq $5, arena + 4080
    fxsave PAGE(1) - 16
    DONE
    TRY "fetch across, second absent"
    movb $0xb8, arena + 4095
    mov $PAGE(1) - 1, %eax
    jmp *%rax
    DONE
    TRY "sgdt across, second absent"
    movq $0, arena + 4088
    sgdt PAGE(1) - 2
    DONE
    SHOW "value", arena + 4088
    TRY "far pointer across, second absent"
    lss PAGE(1) - 4, %esp
    DONE

    TRY "push to an absent page"
    MAP 2, 2, PTE_P | PTE_W
    mov $PAGE(2), %esp
    movb $1, idt + 14 * 16 + 4
    push %rax
    DONE
    TRY "call with the stack on an absent page"
    mov $PAGE(2), %esp
    call main
    DONE
    TRY "indirect call with the stack on an absent page"
    mov $PAGE(2), %esp
    mov $main, %ebx
    call *%rbx
    DONE
    TRY "pop from an absent page"
    mov $PAGE(1), %esp
    pop %rax
    DONE
    TRY "pop to an absent page"
    mov $PAGE(2), %esp
    popq PAGE(1)
    DONE
    TRY "ret from an absent page"
    mov $PAGE(1), %esp
    ret
    DONE
    TRY "enter to an absent page"
    mov $PAGE(2) + 8, %esp
    mov $PAGE(2), %ebp
    enter $16, $0
    DONE
    SHOW "bp", %rbp
    TRY "leave from an absent page"
    mov $PAGE(1), %ebp
    leave
    DONE
    TRY "iret from an absent page"
    mov $PAGE(1), %esp
    iretq
    DONE
    TRY "iret across, second absent"
    mov $PAGE(1) - 24, %esp
    movq $main, (%rsp)
    movq $8, 8(%rsp)
    movq $2, 16(%rsp)
    iretq
    DONE
    movb $0, idt + 14 * 16 + 4

    TRY "rep movsb, source ends"
    MAP 0, 0, PTE_P | PTE_W
    UNMAP 1
    MAP 2, 2, PTE_P | PTE_W
    mov $PAGE(1) - 5, %esi
    mov $PAGE(2) + 0x10, %edi
    mov $100, %ecx
    rep movsb
    DONE
    REGISTERS
    TRY "rep movsq, destination ends"
    mov $PAGE(2), %esi
    mov $PAGE(1) - 20, %edi
    mov $100, %ecx
    rep movsq
    DONE
    REGISTERS
    TRY "rep movsb backwards"
    mov $PAGE(2) + 2, %esi
    mov $PAGE(0) + 0x100, %edi
    mov $100, %ecx
    std
    rep movsb
    DONE
    REGISTERS
    movq $0, arena + 4088
    TRY "rep stosd"
    mov $PAGE(1) - 14, %edi
    mov $100, %ecx
    mov $0x11111111, %eax
    rep stosl
    DONE
    REGISTERS
    SHOW "value", arena + 4088
    TRY "repe cmpsb"
    mov $PAGE(0), %edi
    mov $PAGE(0), %esi
    mov $5000, %ecx
    repe cmpsb
    DONE
    REGISTERS
    TRY "repne scasb"
    mov $PAGE(0), %edi
    mov $5000, %ecx
    mov $0xee, %eax
    repne scasb
    DONE
    REGISTERS
    TRY "rep lodsw across"
    mov $PAGE(1) - 5, %esi
    mov $10, %ecx
    rep lodsw
    DONE
    REGISTERS
    TRY "rep outsb"
    movl $0x21646c69, arena + 4092
    mov $PAGE(1) - 4, %esi
    mov $10, %ecx
    mov $0xe9, %edx
    rep outsb
    DONE
    REGISTERS
    TRY "rep insb"
    mov $PAGE(1) - 3, %edi
    mov $10, %ecx
    mov $0xe9, %edx
    rep insb
    DONE
    REGISTERS
    TRY "rep movsb resumed by its handler"
    mov $PAGE(1) - 2, %esi
    mov $PAGE(2), %edi
    mov $4, %ecx
    movl $again, resume_ip
    rep movsb
    DONE
again:
    MAP 1, 1, PTE_P | PTE_W
    mov saved + 8, %rcx
    mov saved + 24, %rsi
    mov saved + 32, %rdi
    mov resume_sp, %rsp
    rep movsb
    SHOW "cx", %rcx
    SHOW "si", %rsi
    SHOW "di", %rdi

    TRY "a translation that is no longer there"
    MAP 0, 0, PTE_P | PTE_W
    mov PAGE(0), %eax
    movl $0, window_table
    invlpg PAGE(0)
    mov PAGE(0), %eax
    DONE
    TRY "two addresses, one page"
    MAP 0, 0, PTE_P | PTE_W
    MAP 1, 0, PTE_P | PTE_W
    movl $0x1234, PAGE(0) + 8
    SHOW "other", PAGE(1) + 8
    DONE
    FINISH
