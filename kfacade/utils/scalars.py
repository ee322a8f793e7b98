"""Numbers that may still be on their way on a device: reading them late, and summing them without reading them."""
import torch


def number(value):
    """A Python number for a 0-d tensor, an array for a larger one; anything else as it is. Waits for the device."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.item() if value.ndim == 0 else value.detach().cpu().numpy()


def accumulate(total, value, weight):
    """``total + value * weight`` in 64 bits; a sum that has met a tensor stays a tensor, so that nothing waits."""
    if not isinstance(value, torch.Tensor):
        return total + value * weight
    if isinstance(total, torch.Tensor):
        return total.add_(value, alpha=weight)
    return value.double() * weight + total
