"""Ids that cells of each paper had when their records were made: a change of the code must not orphan a record."""

from __future__ import annotations

import pytest

from imbalance_bench.settings.config import plain_of
from imbalance_bench.settings.identity import cell_id
from tests.cells import by_label, composed_by_hydra

AXES = ("dataset", "ratio", "backbone", "trainer", "method")
CELLS = [
    # preset; dataset, ratio, backbone, trainer and method; id
    ("dos/table6_long", "svhn four_random_90 lenet_small dos_mnist_long dos", "4c27857934d7"),
    ("dos/table7", "svhn four_random_99 lenet_small dos_mnist focal", "ba97e0eecc79"),
    ("dos/figure2", "mnist four_random_90 lenet_small dos_mnist dos", "47595f3836fd"),
    ("dos/table1", "mnist_back_rotation_generated digits_0456 lenet_small dos_mnist_back_rotation cnn", "5ec027ee9571"),
    ("dos/table4", "mnist_back_rotation_generated native lenet_small dos_mnist_back_rotation cnn", "b65fbdd61a68"),
    ("dos/table6", "mnist four_random_95 lenet_small dos_mnist cnn_oversampled", "2a811c985ad6"),
    ("dos/table3", "mnist native lenet_small dos_mnist cnn", "60107ec5cbd8"),
    ("dos/table8", "cifar10 native lenet_large dos_cifar10 cnn", "dff6bb32d4a2"),
    (
        "dos/table5",
        "mnist_back_rotation_generated_x10 gaussian_0 lenet_small dos_mnist_back_rotation lmle",
        "ac2af3997113",
    ),
    ("dos/table6_long", "mnist four_random_95 lenet_small dos_mnist_long cnn_oversampled", "b60fe0f831fd"),
    ("explicit_gradient/table1_balanced_first", "adult_balanced_first ir_100 mlp adam focal", "75b64560bea4"),
    ("explicit_gradient/table2", "car_eval_4 native mlp adam random_oversampling_balanced", "77f2816153db"),
    ("explicit_gradient/convergence", "adult ir_50 mlp adam explicit_gradient", "9553adb1999f"),
    ("explicit_gradient/figure3", "coil_2000 native mlp adam smote", "25a75356ef03"),
    ("explicit_gradient/figure1", "sine native mlp_sine sgd_sine squared_error_train_valid", "defbc015cc93"),
    ("explicit_gradient/figure2", "adult ir_100 mlp adam explicit_gradient", "00e4b506a47f"),
    ("explicit_gradient/critical_difference", "pen_digits native mlp adam ldam", "20893628bf92"),
    ("explicit_gradient/table3", "wine_quality native mlp adam explicit_gradient", "bb5c1409591e"),
    ("explicit_gradient/table1", "adult ir_50 mlp adam ldam_drw", "d8462b3e3405"),
    (
        "explicit_gradient/table1_balanced_first",
        "adult_balanced_first ir_200 mlp adam balanced_batches",
        "2452ee2c55c3",
    ),
    ("miso/figure2", "sms_spam native textcnn textcnn miso", "9f3de4d1d1a6"),
    ("miso/table4_cpu", "ag_news_subset_world ir_100 textcnn textcnn miso", "cb7d5fe92ee8"),
    ("miso/table4", "toutiao_stock ir_122 textrnn textcnn miso", "3bf3aa142640"),
    ("miso/table3", "ag_news_world ir_20 xlnet xlnet adasyn_features", "3ed6d8d41888"),
    ("miso/table5", "toutiao_stock ir_122 textcnn textcnn cross_entropy", "2daa8ea49f2d"),
    ("miso/table1", "imdb ir_20 xlnet xlnet random_oversampling_balanced", "1c93447b3eaf"),
    ("miso/table1_cpu", "sms_spam native textrnn textcnn random_oversampling_balanced", "06325361e222"),
    ("miso/table3_cpu", "sms_spam native textcnn textcnn dice_squared", "852b8be9af19"),
    ("miso/table3_stand_ins", "yelp_sentences_10000 ir_100 textcnn textcnn cross_entropy", "2537011f67fc"),
    ("miso/table6_cpu", "ag_news_subset_world ir_100 textcnn textcnn cag", "04f410244371"),
    ("selectnet/figure2", "cifar10 minor_cifar10 keras_cnn selectnet pool_all", "25889e7666fd"),
    ("selectnet/table2_short", "cifar10_jpeg minor_cifar10 keras_cnn selectnet_short selectnet", "933908c5f43c"),
    ("selectnet/table2_cifar10_jpeg", "cifar10_jpeg minor_cifar10 keras_cnn selectnet context_data", "34f50c702af0"),
    (
        "selectnet/table1_cifar10_jpeg",
        "cifar10_jpeg minor_cifar10 keras_cnn selectnet context_data_predicted_label",
        "3ab45316136a",
    ),
    ("selectnet/table3", "cifar100 long_tailed resnet32 cifar_ldam pool_oracle", "a214631e4916"),
    ("selectnet/figure2_cifar10_jpeg", "cifar10_jpeg minor_cifar10 keras_cnn selectnet selectnet", "8c3b73aa66d7"),
    ("selectnet/figure2_short", "cifar10_jpeg minor_cifar10 keras_cnn selectnet_short pool_all", "e06e09a81c0b"),
    ("selectnet/table2", "cifar10 minor_cifar10 keras_cnn selectnet context_data", "844ce30c5a65"),
    ("selectnet/table1", "cifar100 minor10_cifar100 resnet56_v2 selectnet context_data", "b621993c8187"),
    ("selectnet/figure1", "cifar10_jpeg minor_cifar10 keras_cnn selectnet_short selectnet", "2738ffe43660"),
    ("setconv/table1", "irt_nyc_4 native lsa adam cross_entropy", "c57fbb41de64"),
    ("setconv/figure8", "amazon_electronics native bert_large_cased_wwm setconv setconv", "b6036100207b"),
    ("setconv/figure1", "semeval native bert_large_cased_wwm setconv setconv", "4e0bdbcb2e37"),
    ("setconv/table4_open", "ag_news_test irt_nyc_counts lsa setconv setconv_lr_0001", "0485f69166ef"),
    ("setconv/figure6", "irt_nyc native bert_large_cased_wwm adam class_weighted", "5c85304be8de"),
    ("setconv/table4", "irt_nyc_4 native bert_large_cased_wwm adam logistic_regression", "e7872f0c43e4"),
    ("setconv/figure6_open", "semeval_10000 ir_10 lsa setconv setconv", "d2436b36e7f0"),
    ("setconv/figure7", "amazon_movies native bert_large_cased_wwm adam weob2", "f18a212670ba"),
    ("setconv/table4_open", "ag_news_test irt_nyc_counts lsa setconv_code setconv_code", "d97c94325416"),
    ("setconv/two_classes_open", "imdb_5000 ir_10 lsa adam iht", "3bb6e01d2802"),
]


@pytest.mark.parametrize(("preset", "options", "expected"), CELLS)
def test_a_cell_keeps_its_id(preset, options, expected):
    from omegaconf import OmegaConf

    chosen = [by_label(group, label) for group, label in zip(AXES, options.split())]
    composed = composed_by_hydra(f"+paper={preset}", *chosen)
    assert cell_id(plain_of(OmegaConf.to_container(composed, resolve=True))) == expected
