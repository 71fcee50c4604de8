"""The laws an operator obeys, each written once and applied to all."""

import torch


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """<a, b>, in double precision."""
    return (a.to(torch.complex128).conj() * b.to(torch.complex128)).sum()


def assert_adjoint(forward, adjoint, x: torch.Tensor, y: torch.Tensor) -> None:
    """<A x, y> = <x, A^H y>."""
    left, right = inner(forward(x), y), inner(x, adjoint(y))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def assert_gradient_is_adjoint(forward, adjoint, x: torch.Tensor, y: torch.Tensor) -> None:
    """The gradient of |A x - y|^2 / 2 is A^H (A x - y), which is what autograd must find."""
    x = x.clone().requires_grad_()
    (0.5 * (forward(x) - y).abs().square().sum()).backward()
    torch.testing.assert_close(x.grad, adjoint(forward(x.detach()) - y), rtol=1e-3, atol=1e-4)


def assert_unitary(forward, inverse, x: torch.Tensor) -> None:
    """The norm is kept and the inverse inverts."""
    torch.testing.assert_close(forward(x).norm(), x.norm(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inverse(forward(x)), x, rtol=1e-4, atol=1e-5)


def random_complex(*shape: int, seed: int = 0) -> torch.Tensor:
    """Complex white noise."""
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
