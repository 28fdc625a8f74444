/* Floating-point code as compilers make it for x86-64-v1: scalar doubles, packed doubles, packed singles, conversions. */
#include "bench.h"

typedef double double2 __attribute__((vector_size(16)));
typedef float float4 __attribute__((vector_size(16)));

static u64 bits(double value)
{
    union {
        double value;
        u64 bits;
    } u = { value };
    return u.bits;
}

/* Bodies under gravity: subtractions, square roots, divisions. */
#define BODIES 5
static double place[BODIES][3], speed[BODIES][3];
static const double mass[BODIES] = { 39.4, 0.0377, 0.0113, 0.0017, 0.0020 };

static NOINLINE double orbit(u32 steps)
{
    double energy = 0;
    u32 i, j, k;
    for (i = 0; i < BODIES; i++)
        for (k = 0; k < 3; k++) {
            place[i][k] = i * 3.7 + k * 1.3 - 2.0 * (i & 1) * k;
            speed[i][k] = (i + 1) * 0.3 - k * 0.2;
        }
    while (steps--) {
        for (i = 0; i < BODIES; i++)
            for (j = i + 1; j < BODIES; j++) {
                double x = place[i][0] - place[j][0], y = place[i][1] - place[j][1], z = place[i][2] - place[j][2];
                double square = x * x + y * y + z * z + 0.01, pull = 0.001 / (square * __builtin_sqrt(square));
                speed[i][0] -= x * mass[j] * pull, speed[j][0] += x * mass[i] * pull;
                speed[i][1] -= y * mass[j] * pull, speed[j][1] += y * mass[i] * pull;
                speed[i][2] -= z * mass[j] * pull, speed[j][2] += z * mass[i] * pull;
            }
        for (i = 0; i < BODIES; i++)
            for (k = 0; k < 3; k++)
                place[i][k] += 0.001 * speed[i][k];
    }
    for (i = 0; i < BODIES; i++)
        for (k = 0; k < 3; k++)
            energy += 0.5 * mass[i] * speed[i][k] * speed[i][k] + place[i][k];
    return energy;
}

/* The Mandelbrot set: a chain of scalar multiplications with a compare in the loop. */
static NOINLINE u64 mandelbrot(u32 size)
{
    u64 inside = 0;
    u32 row, column, count;
    for (row = 0; row < size; row++)
        for (column = 0; column < size; column++) {
            double cx = 3.0 * column / size - 2.0, cy = 2.0 * row / size - 1.0, x = 0, y = 0;
            for (count = 0; count < 50 && x * x + y * y < 4; count++) {
                double t = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = t;
            }
            inside += count;
        }
    return inside;
}

/* Packed doubles: y += a * x, and the product of both. */
#define LENGTH 1024
static double2 vx[LENGTH], vy[LENGTH];
static NOINLINE double axpy(u32 times)
{
    double2 sum = { 0, 0 };
    u32 i;
    for (i = 0; i < LENGTH; i++) {
        vx[i] = (double2){ i * 0.25, 1.0 / (i + 1) };
        vy[i] = (double2){ 1.0, i };
    }
    while (times--)
        for (i = 0; i < LENGTH; i++) {
            vy[i] = vy[i] * (double2){ 0.999, 0.998 } + vx[i];
            sum += vx[i] * vy[i];
        }
    return sum[0] + sum[1];
}

/* Packed singles: matrices of 32 by 32. */
#define ORDER 32
static float4 left[ORDER][ORDER / 4], right[ORDER][ORDER / 4], product[ORDER][ORDER / 4];
static NOINLINE u64 matrices(u32 times)
{
    u64 sum = 0;
    u32 i, j, k;
    for (i = 0; i < ORDER; i++)
        for (j = 0; j < ORDER / 4; j++) {
            left[i][j] = (float4){ i, j, 1, 0.5f };
            right[i][j] = (float4){ j, 0.25f, i, 2 };
        }
    while (times--)
        for (i = 0; i < ORDER; i++)
            for (j = 0; j < ORDER / 4; j++) {
                float4 cell = { 0, 0, 0, 0 };
                for (k = 0; k < ORDER; k++) {
                    float factor = left[i][k / 4][k & 3];
                    cell += (float4){ factor, factor, factor, factor } * right[k][j];
                }
                product[i][j] = cell;
                sum += (u64)(long)(cell[0] + cell[3]);
            }
    return sum;
}

u64 sse2(u64 rounds)
{
    u64 result = 0;
    while (rounds--) {
        result = result * 31 + bits(orbit(2000));
        result = result * 31 + mandelbrot(64);
        result = result * 31 + bits(axpy(40));
        result = result * 31 + matrices(10);
    }
    return result;
}
