/** The Xen whose behaviour and words this core follows: 4.17.7. */

export const XEN_MAJOR = 4;
export const XEN_MINOR = 17;
/** As XENVER_version and CPUID leaf 0x40000001 give it. */
export const XEN_VERSION = (XEN_MAJOR << 16) | XEN_MINOR;
export const XEN_EXTRAVERSION = '.7';
