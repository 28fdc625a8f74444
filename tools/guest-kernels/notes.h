/* Xen's ELF notes (public/elfnote.h): xen_note TYPE, DIRECTIVE that lays down the descriptor. The section is left open for them. */
        .section .note.Xen, "a", @note
        .macro xen_note type, desc:vararg
        .balign 4
        .long 4, 2f - 1f, \type
        .asciz "Xen"
1:      \desc
2:      .balign 4
        .endm
