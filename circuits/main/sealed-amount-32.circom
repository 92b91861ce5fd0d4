// SPDX-License-Identifier: GPL-3.0-or-later
// An ElGamal ciphertext of an amount in [0, 2^32). See ../lib/sealed-amount.circom.
pragma circom 2.1.0;

include "../lib/sealed-amount.circom";

component main = SealedAmount(32);
