"""Tokens that halt: the paper's algorithm by hand, and one test for each defect of its source."""

import torch
from torch import nn

from frugalvit.methods.avit.model import AViT, HaltingState, target_distribution, tokens_per_block
from frugalvit.models.backbone import build

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
IMAGES = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def ragged(gamma: float = 8.0, beta: float = -2.0, **how) -> AViT:
    """A random model whose tokens halt at different blocks."""
    torch.manual_seed(1)
    backbone = build(ARCHITECTURE, 5)
    nn.init.normal_(backbone.heads.head.weight)
    with torch.no_grad():
        backbone.encoder.pos_embedding[..., 0] = torch.linspace(-1.0, 0.6, 17)
    return AViT(backbone.eval(), gamma, beta, **how).eval()


def test_two_images_of_three_tokens_in_three_blocks_by_hand():
    # [block][image][token]; the class token is the first.
    scores = torch.tensor(
        [
            [[0.2, 0.99, 0.5], [0.6, 0.1, 0.3]],
            [[0.3, 0.7, 0.6], [0.7, 0.1, 0.695]],
            [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
        ]
    )
    state = HaltingState(2, 3, eps=0.01)
    probabilities = torch.stack([state.step(block) for block in scores])
    # Image 1: the class token goes through all three, .2 + .3 + remainder .5; the second token has
    # .99 >= .99 at once, with remainder 1; the third reaches 1.1 after the second block, remainder .5.
    # Image 2: .6, then 1.3: halts with remainder .4; .1 + .1 leave .8; .3 + .695 = .995 >= .99.
    expected = torch.tensor(
        [
            [[0.2, 1.0, 0.5], [0.6, 0.1, 0.3]],
            [[0.3, 0.0, 0.5], [0.4, 0.1, 0.7]],
            [[0.5, 0.0, 0.0], [0.0, 0.8, 0.0]],
        ]
    )
    torch.testing.assert_close(probabilities, expected)
    assert state.went_through.tolist() == [[3, 1, 2], [2, 3, 2]]
    # The second image is answered after two blocks: its second token need not be computed a third time.
    assert state.depths.tolist() == [[3, 1, 2], [2, 2, 2]]
    ponder = [(3 + 0.5 + 1 + 1 + 2 + 0.5) / 3, (2 + 0.4 + 3 + 0.8 + 2 + 0.7) / 3]
    torch.testing.assert_close(state.ponder(), torch.tensor(ponder))
    assert not state.live.any()
    assert tokens_per_block(state.depths, 3).tolist() == [[3, 2, 1], [3, 3, 0]]


def test_without_halting_the_logits_are_the_plain_models():
    model = ragged(halts=False)
    with torch.inference_mode():
        halted = model(IMAGES)
        assert torch.equal(halted.logits, model.backbone(IMAGES))
    assert (halted.depths == 4).all()
    # A score that never cumulates does the same through the masked blocks.
    with torch.inference_mode():
        late = ragged(beta=-1e4)(IMAGES)
        torch.testing.assert_close(late.logits, model.backbone(IMAGES), atol=1e-5, rtol=1e-5)


def test_no_new_weights_and_no_foreign_norm():
    model = ragged()
    assert {name.removeprefix("backbone.") for name in model.state_dict()} == set(
        build(ARCHITECTURE, 5).state_dict()
    )


def test_every_tokens_probabilities_sum_to_one_over_the_whole_batch():
    with torch.inference_mode():
        halted = ragged()(IMAGES)
    torch.testing.assert_close(halted.halting.sum(dim=1), torch.ones(5))
    assert halted.depths.unique().numel() > 2
    # The distribution of each image is its own, not the first one's.
    with torch.inference_mode():
        last = ragged()(IMAGES[4:])
    torch.testing.assert_close(halted.halting[4:], last.halting)
    assert not torch.allclose(halted.halting[0], halted.halting[4])


def test_a_halted_token_is_no_key_and_adds_nothing():
    """What a token holds after it has halted must change no answer."""
    model = ragged()
    layers = model.backbone.encoder.layers
    seen = []

    def disturb(_, inputs):
        (tokens,) = inputs
        live = tokens.abs().sum(dim=-1) > 0  # halted tokens come in as zeros
        seen.append((~live).sum().item())
        return torch.where(live[..., None], tokens, 100.0)

    with torch.inference_mode():
        before = model(IMAGES)
        # The norm before attention is the door through which a block sees its tokens.
        handles = [layer.ln_1.register_forward_pre_hook(disturb) for layer in layers[1:]]
        after = model(IMAGES)
        for handle in handles:
            handle.remove()
    assert seen[-1] > 0
    torch.testing.assert_close(before.logits, after.logits)
    assert torch.equal(before.depths, after.depths)


def test_the_class_output_weighs_blocks_by_their_scores():
    model = ragged(gamma=1.0, beta=-1.0)
    states = []
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: states.append(output))
        for layer in model.backbone.encoder.layers[:1]
    ]
    with torch.inference_mode():
        halted = model(IMAGES[:1])
    for handle in handles:
        handle.remove()
    first = torch.sigmoid(states[0][0, 0, 0] - 1.0)
    assert 0 < first < 0.99
    # All weight on the first block would give its class token: raise beta until everything halts there.
    model.beta = 50.0
    with torch.inference_mode():
        at_once = model(IMAGES[:1])
        backbone = model.backbone
        logits = backbone.heads(backbone.encoder.ln(states[0][:, 0]))
    torch.testing.assert_close(at_once.logits, logits)
    assert not torch.allclose(halted.logits, at_once.logits)
    assert (at_once.depths == 1).all()


def test_gradients_are_finite_when_all_tokens_of_an_image_have_halted():
    model = ragged(beta=30.0)
    halted = model(IMAGES)
    assert (halted.depths == 1).all()
    (halted.logits.sum() + halted.ponder.sum()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_target_is_a_discretised_normal_that_sums_to_one():
    target = target_distribution(12, 8, 1.0)
    assert target.sum().item() == 1.0 or abs(target.sum().item() - 1) < 1e-6
    assert target.argmax().item() + 1 == 8
    torch.testing.assert_close(target[6], target[8])
    torch.testing.assert_close(target[6] / target[7], torch.tensor(-0.5).exp())
    assert target_distribution(12, None, 1.0).argmax().item() + 1 == 8
    assert target_distribution(6, 100.0, 0.1).isfinite().all()
