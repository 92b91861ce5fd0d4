// SPDX-License-Identifier: GPL-3.0-or-later
//
// sealed-amount: the prover knows `amount` and `r` such that (c1, c2) is an exponential ElGamal encryption of
// `amount` under `pk`, and `amount` is in [0, 2^bits).
//
//     c1 = r * G        G = Base8, the generator of Baby Jubjub's subgroup of prime order L
//     c2 = amount * G + r * pk
//     statement = Poseidon(c1.x, c1.y, c2.x, c2.y, pk.x, pk.y, ctx)
//
// `statement` is the one public signal. The verifier rebuilds it from the ciphertext's bytes, the key that the
// registry names and the command's context, so nothing that a prover sends is taken for a public input, and no
// public input can be dropped by the optimiser: each enters the hash.
//
// What the circuit leaves to the verifier, because it is cheaper and clearer outside:
//   - pk is on the curve, of order L, not the identity (checked when the key is registered). EscalarMulAny needs it:
//     it answers the identity for the point of order two, (0, -1), and its Montgomery ladder has an unconstrained
//     slope wherever two added points coincide, which for order L and scalars below L never happens.
//   - c1 is not the identity, that is r != 0 (checked on the ciphertext's bytes). r = 0 satisfies this circuit.
//   - the coordinates of c1, c2 and pk are canonical, below the field's order (checked on the bytes).
// What the circuit gives the verifier: c1 and c2 are on the curve and in the subgroup, because they are computed
// here from G and pk; the writer knows r, so c1 is not somebody else's.
//
// Hints (`<--`): none in this file. Those of circomlib 2.0.5 used below are each followed by their constraint:
//   Num2Bits          out[i] bits, sum of bits === in, every bit boolean
//   MontgomeryAdd/Dbl lamda * (x2 - x1) === y2 - y1; sound while x2 != x1. EscalarMulFix never adds equal points (its
//                     accumulator starts above the largest window). EscalarMulAny adds 2^(i+1) pk to an odd multiple
//                     of pk below 2^(i+1): neither their difference nor their sum is 0 modulo L for i < 249.
//   Edwards2Montgomery, Montgomery2Edwards   divisors 1 - y, x and v, u + 1: not 0 for a point of order L
//   BabyAdd           complete on Baby Jubjub (a is a square, d is not): its divisors are never 0
//   IsZero            in * out === 0 and out === 1 - in * inv
pragma circom 2.1.0;

include "circomlib/circuits/babyjub.circom";
include "circomlib/circuits/bitify.circom";
include "circomlib/circuits/escalarmulany.circom";
include "circomlib/circuits/escalarmulfix.circom";
include "circomlib/circuits/poseidon.circom";

template SealedAmount(bits) {
    // The sum of many amounts is what is opened, so single amounts stay far below L; and bits must stay below 246,
    // where EscalarMulFix begins a second segment.
    assert(bits <= 64);

    signal input amount;
    signal input r;
    signal input pk[2];
    // The first 31 bytes of the command's context, big-endian: below the field's order whatever they are.
    signal input ctx;
    signal output statement;

    var BASE8[2] = [
        5299619240641551281634865583518297030282874472190772894086521144482721001553,
        16950150798460657717958625567821834550301663161624707787222815936182638968203
    ];

    // Range: the bits that encode `amount` are the ones that are multiplied, so the range costs nothing more.
    component amountBits = Num2Bits(bits);
    amountBits.in <== amount;

    // 250 bits: below L (2^250 < L < 2^251), so r is one value, not one of several modulo L; far below the field's
    // order, so Num2Bits has one solution (254 bits would have two).
    component rBits = Num2Bits(250);
    rBits.in <== r;

    component amountG = EscalarMulFix(bits, BASE8);
    for (var i = 0; i < bits; i++) amountG.e[i] <== amountBits.out[i];

    component rG = EscalarMulFix(250, BASE8);
    component rPk = EscalarMulAny(250);
    rPk.p[0] <== pk[0];
    rPk.p[1] <== pk[1];
    for (var i = 0; i < 250; i++) {
        rG.e[i] <== rBits.out[i];
        rPk.e[i] <== rBits.out[i];
    }

    component c2 = BabyAdd();
    c2.x1 <== amountG.out[0];
    c2.y1 <== amountG.out[1];
    c2.x2 <== rPk.out[0];
    c2.y2 <== rPk.out[1];

    component hash = Poseidon(7);
    hash.inputs[0] <== rG.out[0];
    hash.inputs[1] <== rG.out[1];
    hash.inputs[2] <== c2.xout;
    hash.inputs[3] <== c2.yout;
    hash.inputs[4] <== pk[0];
    hash.inputs[5] <== pk[1];
    hash.inputs[6] <== ctx;
    statement <== hash.out;
}
